"""``albumen evaluate corrections``: what a user's answers are worth, asked well or at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from pipeline.evaluate import in_learning_half
from pipeline.evaluate_growth import handed_on
from pipeline.evaluation_page import EvaluationPage, Line, Plot, Section, Table, line_plot, write_page
from pipeline.faces_to_group import calibration, threshold_line, with_vectors
from pipeline.labelled import Workplace, embedder_name, labelled_photos
from transforms.clustering_scores import clustering_scores
from transforms.constraints import Constraints, resolve
from transforms.corrections import DIFFERENT, MERGE, NOT_THIS_PERSON, SAME, Anchor, Correction
from transforms.library import Library
from transforms.people import FaceSet, WeakLimits
from transforms.questions import MEMBER, SPLIT, Question, questions
from transforms.regrouping import Regrouped, regroup
from transforms.tables import EMBEDDING, FACE_SIZE, PHOTO_ID, SCORE, SHARPNESS, YAW, matrix

_AT_ONCE = 10

Choose = Callable[[Sequence[Question]], list[Question]]


def corrections(
    library: Library, *, count: int, method: str, seed: int, work: Workplace, held_out: bool = False
) -> tuple[list[str], dict[str, object]]:
    """Simulates users of a labelled library who answer `count` questions, ten between two groupings.

    Only labelled faces take part, since of others the answer is not known; with `held_out` only those of
    the half of LFW's people from whom nothing was learnt. A user looks at a question's faces and says what
    most of them show; their answers become corrections, and each grouping keeps to all of them. Random
    questions come from the same list of questions, each as likely as the others.
    """
    labelled = labelled_photos(library)
    table = library.read_faces([PHOTO_ID, FACE_SIZE, SCORE, YAW, SHARPNESS, EMBEDDING])
    embeddings = matrix(table[EMBEDDING])
    known = calibration(library, embeddings)
    taking_part = labelled.face >= 0
    if held_out:
        learnt = [in_learning_half(path.rpartition("/")[0]) for path in labelled.paths]
        taking_part &= ~np.array(learnt)
    order = np.argsort(labelled.face[taking_part])
    rows, truth = labelled.face[taking_part][order], labelled.people[taking_part][order]
    features = (table[c].to_numpy()[rows] for c in (FACE_SIZE, SCORE, YAW, SHARPNESS))
    faces = with_vectors(FaceSet(embeddings[rows], np.arange(len(rows)), *features), embeddings[rows], known)
    grouped = partial(
        regroup, faces, method=method, seed=seed, line=threshold_line(known, method), curve=known.confidence
    )
    start = grouped(Constraints())
    random = np.random.default_rng(seed)
    ways: dict[str, Choose] = {
        "most useful": lambda found: list(found[:_AT_ONCE]),
        "random": lambda found: [found[i] for i in random.permutation(len(found))[:_AT_ONCE]],
    }
    curves = {
        way: _answered(faces, truth, start, grouped, choose=choose, count=count)
        for way, choose in ways.items()
    }
    lines = [f"{len(rows):,} labelled faces; BCubed F before any answer {curves['random'][0]:.4f}."]
    for way, curve in curves.items():
        lines.append(
            f"{count} {way} questions: BCubed F {curve[-1]:.4f} "
            f"({100 * (curve[-1] - curve[0]):+.2f} points); after every ten: "
            + " ".join(f"{v:.4f}" for v in curve)
        )
    page = _page(curves, len(rows), library, held_out)
    return lines + write_page(page, work), dict(page.facts)


def _answered(
    faces: FaceSet, truth: np.ndarray, start: Regrouped, grouped: Callable[..., Regrouped],
    *, choose: Choose, count: int,
) -> list[float]:  # fmt: skip
    """BCubed F before, and after every ten answers."""
    result = start
    said: list[Correction] = []
    asked: set[tuple[int, int]] = set()
    clear = ~faces.weak(WeakLimits())
    curve = [_score(truth, result)]
    everyone = np.arange(len(truth))
    for _ in range(0, count, _AT_ONCE):
        found = questions(faces, result.found.group, clear, threshold=result.frozen.threshold)
        chosen = choose([q for q in found if q.key not in asked])
        asked |= {q.key for q in chosen}
        answers = [answer(q, truth, len(said) + i) for i, q in enumerate(chosen)]
        said += answers
        constraints, _ = resolve(said, lambda ids: np.array([int(i) for i in ids], np.int64))
        changed = np.unique([int(f) for c in answers for a in c.anchors.values() for f in a.faces])
        kept = handed_on(result, everyone, everyone)
        result = grouped(constraints, kept=kept, frozen=result.frozen, changed=changed)
        curve.append(_score(truth, result))
    return curve


def answer(question: Question, truth: np.ndarray, number: int) -> Correction:
    """What a user who knows everyone says; faces are called by their rows.

    Of people they look at the faces shown and go by what most show; of a face, at this face.
    """
    face, other_face = (Anchor((str(side[0]),), True) for side in (question.first, question.second))
    person, other = (Anchor(tuple(str(f) for f in side), False) for side in (question.first, question.second))
    if question.kind == SPLIT:
        same = truth[question.first[0]] == truth[question.second[0]]
        kind, sides = (SAME if same else DIFFERENT), (face, other_face)
    elif question.kind == MEMBER:
        same = truth[question.first[0]] == _most_common(truth[question.second])
        kind, sides = (SAME if same else NOT_THIS_PERSON), (face, other)
    else:
        same = _most_common(truth[question.first]) == _most_common(truth[question.second])
        kind, sides = (MERGE if same else DIFFERENT), (person, other)
    who, whom = "a", "b"
    return Correction(
        number, f"c-{number}", "", kind, who, (whom,), "", dict(zip((who, whom), sides, strict=True))
    )


def _most_common(values: np.ndarray) -> int:
    found, counts = np.unique(values, return_counts=True)
    return int(found[counts.argmax()])


def _score(truth: np.ndarray, result: Regrouped) -> float:
    group = result.found.group
    return clustering_scores(truth, np.where(group >= 0, group, -1 - np.arange(len(group)))).bcubed_f


def _page(curves: dict[str, list[float]], faces: int, library: Library, held_out: bool) -> EvaluationPage:
    name = "corrections_held_out" if held_out else "corrections"
    asked = [_AT_ONCE * n for n in range(len(curves["random"]))]
    svg = line_plot(
        [Line(f"{way} questions", asked, curve, marked=True) for way, curve in curves.items()],
        x="questions answered", y="BCubed F",
    )  # fmt: skip
    rows = [[str(n), *(f"{curve[i]:.4f}" for curve in curves.values())] for i, n in enumerate(asked)]
    whose = "of people from whom nothing was learnt" if held_out else "of all people"
    text = (
        f"A simulated user who knows everyone answers the questions of `albumen stats --ask`, {_AT_ONCE} "
        "between two groupings: the most useful first, or random ones of the same list. Only labelled faces "
        "take part."
    )
    return EvaluationPage(
        name=name,
        title="What answers are worth",
        data=f"{faces:,} labelled faces {whose}",
        model=embedder_name(library),
        fingerprint=library.info().fingerprint or "",
        sections=[
            Section(
                "BCubed F by the number of answers",
                [text],
                [Table(("answers", *(f"{way} questions" for way in curves)), rows)],
                [Plot(f"{name}.svg", "BCubed F by the number of questions answered", svg)],
            )
        ],
        facts={"bcubed_f": curves, "faces": faces, "at_once": _AT_ONCE},
    )
