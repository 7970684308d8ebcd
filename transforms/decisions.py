"""What the corrections come to in a library as it is now, and what the next revision keeps of that.

Lines that were made by hand name people by ids alone. The first grouping that reads such a line looks up
the faces that it meant, and every revision hands them on, since the file itself is the user's: a run never
writes it. Anchors that photos took with them when they went are made up for in the same way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.constraints import Constraints, resolve
from transforms.corrections import (
    NAME,
    NOT_THIS_PERSON,
    RENAME,
    SAME_PHOTO_ALLOWED,
    SPLIT,
    Anchor,
    Correction,
    CorrectionError,
    Problem,
    anchors_cell,
    anchors_of,
    parse,
)
from transforms.library import Library
from transforms.references import References
from transforms.successors import Successors

# The reference of a `not-this-person` that does not say who: the person whom the face belongs to.
_ITS_PERSON = "(its person)"


@dataclass(frozen=True)
class Decisions:
    """The corrections that hold, each with the faces it speaks of; as constraints on faces by row; and
    what its owner should know. `kept` are anchors by correction id that the file itself does not hold."""

    corrections: tuple[Correction, ...] = ()
    constraints: Constraints = Constraints()
    problems: tuple[Problem, ...] = ()
    kept: Mapping[str, str] = field(default_factory=dict)
    # The rows of each correction's faces, also of those that do not hold; what each line says
    # (`_content`), and of those that hold as they stand.
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)
    said: Mapping[str, str] = field(default_factory=dict)
    effective: tuple[str, ...] = ()


def read_decisions(
    library: Library, face_ids: pa.Array, *, data: bytes | None = None, successors: Successors | None = None
) -> Decisions:
    """The decisions in a library's corrections file (or in `data`) about faces with these ids."""
    data = library.read_corrections() if data is None else data
    if not data:
        return Decisions()
    file = parse(data)
    successors = successors or Successors.of(library, face_ids)
    revision = library.current_revision()
    kept = library.read_anchors(revision) if revision else {}
    references = References(library, revision)
    problems = list(file.problems)
    active = {c.id for c in file.active}
    anchored: list[Correction] = []
    new, spoken_of = {}, {}
    for correction in file.corrections:
        known = {**correction.anchors, **anchors_of(kept.get(correction.id, ""))}
        known = {text: replace(a, faces=tuple(successors.now(a.faces))) for text, a in known.items()}
        faces = [f for a in known.values() for f in a.faces]
        if correction.id not in active:
            spoken_of[correction.id] = faces
            continue
        try:
            anchored.append(anchor(correction, references, known, earlier=anchored))
            spoken_of[correction.id] = [f for a in anchored[-1].anchors.values() for f in a.faces]
            if anchored[-1].anchors != correction.anchors:
                new[correction.id] = anchors_cell(anchored[-1].anchors)
        except CorrectionError as error:
            problems.append(Problem((correction.line,), f"{correction}: {error}"))
    constraints, more = resolve(anchored, lambda ids: rows_among(ids, face_ids))
    flat = rows_among([face for faces in spoken_of.values() for face in faces], face_ids)
    ends = np.cumsum([len(faces) for faces in spoken_of.values()])
    rows = dict(zip(spoken_of, np.split(flat, ends[:-1]), strict=True)) if spoken_of else {}
    troubled = {line for p in (*problems, *more) for line in p.lines}
    said = {c.id: _content(c) for c in file.corrections}
    effective = tuple(sorted(said[c.id] for c in anchored if c.line not in troubled))
    return Decisions(tuple(anchored), constraints, (*problems, *more), new, rows, said, effective)


def _content(correction: Correction) -> str:
    """What a line says, so that an edit of it is seen: digests of the name and of whom it speaks, its id."""
    parts = (correction.name, "\0".join([correction.kind, *correction.references]))
    digests = (blake2b(p.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest() for p in parts)
    return " ".join([*digests, correction.id])


def changed_faces(decisions: Decisions, before: Sequence[str]) -> np.ndarray | None:
    """int64[m]: faces that corrections speak of which hold now and did not `before` (the `effective` ones
    then), or the other way round; None where a line that held is gone, or speaks of others now."""
    meant = {content.partition(" ")[2] for content in decisions.said.values()}
    if any(content.partition(" ")[2] not in meant for content in before):
        return None
    changed = {content.split(" ", 2)[2] for content in set(before) ^ set(decisions.effective)}
    rows = [decisions.rows.get(id, np.zeros(0, np.int64)) for id in sorted(changed)]
    found = np.concatenate([np.zeros(0, np.int64), *rows])
    return np.unique(found[found >= 0])


def anchor(
    correction: Correction, references: References, known: Mapping[str, Anchor] | None = None,
    *, earlier: Sequence[Correction] = (),
) -> Correction:  # fmt: skip
    """The correction with the faces that its references mean, looked up unless `known`.

    Who was named by one of the `earlier` corrections is known by the faces that this one has: otherwise
    a name and a later rename or merge could speak of different faces, and so of two people.
    Raises CorrectionError for a reference that means nothing.
    """
    known, found = known or {}, {}
    texts = correction.references
    if correction.kind == NOT_THIS_PERSON and len(texts) == 1:
        texts = (*texts, _ITS_PERSON)
    speaks_of_photo = correction.kind == SAME_PHOTO_ALLOWED and len(texts) == 1
    # People are known by other faces than those which are said to leave them.
    order = sorted(texts, key=lambda t: t in _people_of(correction, texts))
    without: set[str] = set()
    first: list[str] = []
    if not known.keys() >= set(texts):
        naming = [c for c in earlier if c.kind in (NAME, RENAME)]
        first = [f for c in naming for a in c.anchors.values() for f in a.faces]
    for text in order:
        if text in known and (text != _ITS_PERSON or correction.who in known):
            found[text] = known[text]
        elif text == _ITS_PERSON:
            person = references.person_of(found[correction.who].faces[0])
            found[text] = references.find(person, without=without, first=first)
        elif speaks_of_photo and not references.is_face(text):
            found[text] = references.photo_faces(text)
        else:
            found[text] = _find(text, references, earlier, without=without, first=first)
            if correction.kind == RENAME and found[text].exact:  # a face stands for its person
                for person in references.people_of(found[text].faces):
                    found[text] = references.find(person, first=first)
        if found[text].exact:
            without |= set(found[text].faces)
    anchors = {text: found[text] for text in texts}
    _check_kinds(correction, anchors)
    return replace(correction, others=tuple(texts[1:]), anchors=anchors)


def _find(
    text: str, references: References, earlier: Sequence[Correction], *, without: Collection[str],
    first: Sequence[str],
) -> Anchor:  # fmt: skip
    """Whom a reference means; who was named since the last grouping is known by the faces of that line."""
    try:
        return references.find(text, without=without, first=first)
    except CorrectionError:
        named = {c.anchors[c.who] for c in earlier if c.kind in (NAME, RENAME) and c.name == text}
        if len(named) != 1:
            raise
        return named.pop()


def _people_of(correction: Correction, texts: Sequence[str]) -> Sequence[str]:
    if correction.kind == SPLIT:
        return texts[:1]
    return texts[1:] if correction.kind == NOT_THIS_PERSON else ()


def _check_kinds(correction: Correction, anchors: Mapping[str, Anchor]) -> None:
    said = list(anchors.items())
    must_be_faces = {"split": said[1:], "not-this-person": said[:1], "not-a-face": said,
                     "same-photo-allowed": said}.get(correction.kind, [])  # fmt: skip
    for text, found in must_be_faces:
        if not found.exact:
            raise CorrectionError(f"{text!r} is a person: {correction.kind} needs a face there")
    if len({text for text, _ in said}) != len(correction.references) and correction.kind != NOT_THIS_PERSON:
        raise CorrectionError("it names the same twice")


def rows_among(ids: Sequence[str], face_ids: pa.Array) -> np.ndarray:
    """int64[n]: where each of `ids` stands in `face_ids`, -1 for nowhere."""
    found = pc.index_in(pa.array(ids, face_ids.type), value_set=face_ids)
    return pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
