"""``albumen bench group``: what grouping costs, and what it finds, from ten thousand faces to millions.

Each size is a synthetic library, written and grouped as any library by processes of their own, so that
memory is that of grouping alone.
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

from models.calibration import shipped_calibration
from models.embedder import FACENET_CASIA, embedder_spec
from models.face_statistics import shipped_statistics
from pipeline.faces_to_group import read_features
from pipeline.search_neighbours import SearchSettings
from transforms import storage
from transforms.clustering_scores import clustering_scores
from transforms.library import Library
from transforms.neighbours import NEIGHBOURS, NeighbourGraph, pair_keys
from transforms.people import Rules
from transforms.synthetic_faces import SyntheticPeople
from transforms.synthetic_library import write_synthetic_library
from transforms.tables import PERSON_ID
from transforms.vector_file import VectorFile

_LARGEST = 20_000
# A family's archive: each of its people has as many faces as the largest person of other libraries, and
# those of strangers come besides, so many a stranger at most.
_FAMILY, _STRANGERS, _STRANGER = 20, 100_000, 500
FAMILY_FACES = _FAMILY * _LARGEST + _STRANGERS
# A club's: everybody has as many faces.
_MEMBER = 200
UNEQUAL, FAMILY, CLUB = "unequal", "family", "club"
_SAID = {UNEQUAL: "", FAMILY: ", a family", CLUB: ", a club"}
_QUERIES = 1_000
_NAME = "grouping_scale"


def bench(
    sizes: list[int],
    out: str,
    *,
    work: str | None,
    method: str,
    settings: SearchSettings,
    shapes: Sequence[str] = (),
    turns: int = 1,
) -> tuple[list[str], dict[str, object]]:
    """Groups a synthetic library of each size, and of other `shapes`, a family's or a club's; adds what it
    measured to the tables in the folder `out`. With `turns` the libraries take turns, so many each, and a
    row's seconds are their median."""
    wanted = [*((size, UNEQUAL) for size in sizes), *((FAMILY_FACES, shape) for shape in shapes)]
    runs: list[list[dict]] = [[] for _ in wanted]
    begun = datetime.now(timezone.utc).isoformat(timespec="seconds")
    lines, rows = [], []
    with tempfile.TemporaryDirectory(prefix="albumen-bench-", dir=work) as folder:
        for turn in range(turns):
            for number, (faces, shape) in enumerate(wanted):
                place = storage.join(folder, str(number))
                if not turn:
                    in_process(_write, place, faces, settings.seed, shape)
                runs[number].append(in_process(_group, place, method, settings))
                if turn < turns - 1:
                    continue
                which = {"run": begun, "faces": faces, "shape": shape}
                row = {**which, **_median(runs[number]), **_scores(place)}
                storage.remove_folder(place)
                rows.append(row)
                lines.append(_described(row))
                _record(row, out)
    return [
        *lines, *_against_others(rows), f"written to {storage.join(out, _NAME)}.md and .json"
    ], {"rows": rows}  # fmt: skip


def _median(runs: list[dict]) -> dict:
    """The run of median time, of two in the middle the slower, with what the clock and the processor say of
    all."""
    ordered = sorted(runs, key=lambda run: run["seconds"])
    turns = {"turns": [run["seconds"] for run in runs], "processor_turns": [run["processor"] for run in runs]}
    return {**ordered[len(runs) // 2], **turns}


def _against_others(rows: list[dict]) -> list[str]:
    """How long a family's library takes beside each other one of its size with which it took turns."""
    took_turns = [row for row in rows if "run" in row and len(row["turns"]) > 1]
    lines = []
    for family in (row for row in took_turns if row["shape"] == FAMILY):
        for other in took_turns:
            if other is family or any(other[key] != family[key] for key in ("run", "faces")):
                continue
            pair, whose = (family, other), "a club's" if other["shape"] == CLUB else "people of unequal size"
            lines.append(
                f"The family's {family['faces']:,} faces take {_compared(pair, 'turns')} as those of "
                f"{whose}; of processor time {_compared(pair, 'processor_turns')}."
            )
    return lines


def _compared(pair: tuple[dict, dict], key: str) -> str:
    """The seconds of a family's turns beside another's."""
    family, other = (float(np.median(row[key])) for row in pair)
    return (
        f"{family / other:.2f} times as long ({family:.0f} s and {other:.0f} s, medians of "
        f"{_listed(pair[0][key])} and {_listed(pair[1][key])})"
    )


def _listed(seconds: list[float]) -> str:
    return ", ".join(f"{s:.0f}" for s in seconds)


def in_process(function: Callable, *args) -> dict:
    """Runs `function` in a fresh process and returns what it does. Raises RuntimeError where it fails."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, function, args))
    process.start()
    sender.close()
    try:
        found = receiver.recv()
    except EOFError as error:
        process.join()
        raise RuntimeError(f"{function.__name__} ended with exit code {process.exitcode}") from error
    process.join()
    return found


def _send(sender, function: Callable, args: tuple) -> None:
    sender.send(function(*args))


def people_of(shape: str, faces: int, seed: int) -> SyntheticPeople:
    """People of very unequal size, a family of people with many faces among strangers with few, or a club
    whose members have as many each."""
    if shape == UNEQUAL:
        return SyntheticPeople(largest=min(_LARGEST, faces // 10))
    if shape == CLUB:
        return SyntheticPeople(sizes=np.full(FAMILY_FACES // _MEMBER, _MEMBER))
    strangers = SyntheticPeople(largest=_STRANGER).drawn(_STRANGERS, np.random.default_rng([seed, 1]))
    return SyntheticPeople(sizes=np.concatenate([np.full(_FAMILY, _LARGEST), strangers]))


def _write(folder: str, faces: int, seed: int, shape: str) -> dict:
    embedder = embedder_spec(FACENET_CASIA).describe()
    known = shipped_calibration(embedder)
    assert known is not None
    truth = write_synthetic_library(
        storage.join(folder, "library"), shipped_statistics(), centre=known.centre, embedder=embedder,
        faces=faces, seed=seed, people=people_of(shape, faces, seed),
    )  # fmt: skip
    np.save(storage.join(folder, "person.npy"), truth.person.astype(np.int32))
    return {}


def _group(folder: str, method: str, settings: SearchSettings) -> dict:
    """Groups the library, watching this process's memory."""
    import torch

    from pipeline.group import group_library

    torch.set_num_threads(settings.threads)
    person = np.load(storage.join(folder, "person.npy"))
    observed: dict[str, float] = {}

    def observe(vectors: VectorFile, bias: np.ndarray, weak: np.ndarray, graph: NeighbourGraph) -> None:
        started, worked = time.monotonic(), time.process_time()
        # Faces above the level at which they attach: all that the graph was asked for.
        least = float(np.min(graph.similarity)) if len(graph.similarity) else 1.0
        observed["recall"] = neighbour_recall(vectors, bias, graph, person, least=least, unsure=weak)
        observed["seconds"] = time.monotonic() - started
        observed["processor"] = time.process_time() - worked

    library = Library.open(storage.join(folder, "library"))
    with MemoryWatch() as watch:
        started, worked = time.monotonic(), time.process_time()
        summary = group_library(
            library, method=method, seed=settings.seed, full=True, settings=settings, observe=observe
        )
        seconds = time.monotonic() - started - observed.get("seconds", 0.0)
        processor = time.process_time() - worked - observed.get("processor", 0.0)
    search = library.read_grouping(summary.revision).get("search")
    return {
        "seconds": round(seconds, 1),
        "processor": round(processor, 1),
        "anonymous_mb": round(watch.peak[0] / 1e6),
        "resident_mb": round(watch.peak[1] / 1e6),
        "people": summary.people,
        "ungrouped": summary.ungrouped,
        "largest": summary.largest,
        "neighbour_recall": observed.get("recall"),
        "search": search,
        "threads": settings.threads,
    }


def neighbour_recall(
    vectors: VectorFile, bias: np.ndarray, graph: NeighbourGraph, person: np.ndarray, *, least: float,
    unsure: np.ndarray, seed: int = 0,
) -> float:  # fmt: skip
    """Of the nearest `NEIGHBOURS` others at or above `least` that show the same person, the share that
    the graph joins to the face, over a sample of faces; found anew by comparing the sample with all faces but
    those that are `unsure` bool[n], whom the search makes nobody's neighbours. Of a burst only the face that
    stands for it is sampled, and looked for."""
    from transforms.bursts import bursts_of
    from transforms.edge_lists import strongest

    burst = bursts_of(graph, bias)
    stands = burst == np.arange(len(vectors))
    generator = np.random.default_rng(seed)
    known = np.flatnonzero(stands)
    queries = np.sort(generator.choice(known, min(_QUERIES, len(known)), replace=False))
    table = vectors.take(queries)
    query, other, similarity = [], [], []
    for start, stop in vectors.slices():
        scores = vectors.read(start, stop) @ table.T - (bias[start:stop, None] + bias[queries]) / 2
        asked = stands[start:stop, None] & ~unsure[start:stop, None]
        row, column = np.nonzero((scores >= least) & asked)
        query.append(queries[column].astype(np.int32))
        other.append((row + start).astype(np.int32))
        similarity.append(scores[row, column])
    face, near, alike = (np.concatenate(x) for x in (query, other, similarity))
    others = face != near
    found = strongest(face[others], near[others], alike[others], k=NEIGHBOURS, least=least)
    same = person[found.face] == person[found.other]
    key = pair_keys(found.face[same], found.other[same], len(vectors))
    sampled = np.zeros(len(vectors), bool)
    sampled[queries] = True
    held = []
    for start in range(0, len(graph.left), 8_000_000):
        left, right = (burst[ends[start : start + 8_000_000]] for ends in (graph.left, graph.right))
        chosen = sampled[left] | sampled[right]
        held.append(pair_keys(left[chosen], right[chosen], len(vectors)))
    return float(np.isin(key, np.concatenate(held)).mean()) if len(key) else 1.0


class MemoryWatch:
    """Reads this process's memory five times a second, in a thread: `peak` (bytes of its own, bytes
    resident with the pages of files, which the system takes back when it needs them)."""

    def __init__(self) -> None:
        self.peak = (0, 0)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        process = psutil.Process()
        while not self._ended.wait(0.2):
            used = process.memory_info()
            own = used.rss - getattr(used, "shared", 0)
            self.peak = (max(self.peak[0], own), max(self.peak[1], used.rss))


def _scores(folder: str) -> dict[str, float]:
    library = Library.open(storage.join(folder, "library"))
    revision = library.current_revision()
    assert revision is not None
    person = np.load(storage.join(folder, "person.npy"))
    coded = library.read_assignments(revision)[PERSON_ID].combine_chunks().dictionary_encode().indices
    group = coded.fill_null(-1).to_numpy().astype(np.int64)
    alone = group < 0
    group[alone] = -1 - np.arange(int(alone.sum()))
    found = clustering_scores(person, group)
    largest = largest_people(person, group, clear=~read_features(library)[1].weak(Rules().limits))
    return {
        "bcubed_f": round(found.bcubed_f, 4), "bcubed_precision": round(found.bcubed_precision, 4),
        **{f"largest_{name}": round(share, 4) for name, share in largest._asdict().items()},
    }  # fmt: skip


class LargestPeople(NamedTuple):
    """Mean shares over the largest people: of someone's faces, and of the clear ones, those that lie in the
    group with most of them; of that group, their faces."""

    whole: float
    clear_whole: float
    clean: float


def largest_people(
    person: np.ndarray, group: np.ndarray, *, clear: np.ndarray, count: int = _FAMILY
) -> LargestPeople:
    """How whole and how clean the `count` largest people of int[n] `person` are in int[n] `group`; `clear`
    bool[n] says which faces are."""
    largest = np.argsort(-np.bincount(person), kind="stable")[:count]
    _, group = np.unique(group, return_inverse=True)
    sizes = np.bincount(group)
    shares = []
    for who in largest.tolist():
        mine = person == who
        held, clearly = (np.bincount(group[m], minlength=len(sizes)) for m in (mine, mine & clear))
        main = int(held.argmax())
        parts = held[main] / held.sum(), clearly[main] / max(clearly.sum(), 1), held[main] / sizes[main]
        shares.append(parts)
    return LargestPeople(*(float(share) for share in np.mean(shares, axis=0)))


def _described(row: dict) -> str:
    recall = row["neighbour_recall"]
    return (
        f"{row['faces']:,} faces: {row['seconds']:.0f} s, {row['anonymous_mb']:,} MB of its own memory "
        f"({row['resident_mb']:,} MB with pages of files); {row['people']:,} people, "
        f"same-person neighbour recall {'exact' if recall is None else f'{recall:.4f}'}, "
        f"BCubed F {row['bcubed_f']:.4f}, the {_FAMILY} largest people {row['largest_whole']:.4f} whole "
        f"({row['largest_clear_whole']:.4f} of their clear faces) and {row['largest_clean']:.4f} clean"
    )


def _kind(row: dict) -> tuple[int, int, bool]:
    return row["faces"], list(_SAID).index(row["shape"]), bool((row["search"] or {}).get("compact"))


def _record(row: dict, out: str) -> None:
    """Puts the row in the place of an earlier one of its size."""
    path = Path(out, f"{_NAME}.json")
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    rows = [r for r in rows if _kind(r) != _kind(row)]
    rows = sorted([*rows, row], key=_kind)
    storage.write_bytes(str(path), (json.dumps(rows, indent=1) + "\n").encode())
    text = [
        "# Grouping from ten thousand faces to millions",
        "",
        "`albumen bench group` on synthetic libraries (synthetic_faces.svg shows how they compare with LFW).",
        "Time is that of `albumen group` with the index given: reading, neighbours, people, writing.",
        "Seconds are by the clock, those of the search for neighbours among them; processor is the time of "
        "all threads.",
        "Own memory is what the process needs; pages of files come besides while the system has room.",
        f"Recall is over {_QUERIES:,} faces: of their nearest {NEIGHBOURS} clear others that are as alike as "
        "the graph asks, those that show the same person, and the share of these that the graph joins to the "
        "face. Of a burst of near-identical shots only the one that stands for it counts.",
        "Compact rows were searched on 128 bytes a face (`--compact`).",
        f"Whole is the mean share of the faces of each of the {_FAMILY} largest people that lies in one "
        "group (in brackets of their clear faces), clean the mean share of that group.",
        f"A family's library has {_FAMILY} people of {_LARGEST:,} faces each among {_STRANGERS:,} faces of "
        f"strangers (`--family`), a club's people of {_MEMBER:,} faces each (`--club`); in the others the "
        f"largest has a tenth of all, {_LARGEST:,} at most.",
        "",
        "| faces | threads | seconds | processor | neighbours | own memory MB | with files MB "
        "| recall | edges | people | BCubed F (precision) | whole | clean |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: |",
    ]
    for r in rows:
        search = r["search"] or {}
        parts = search.get("seconds", {})
        recall = "exact" if r["neighbour_recall"] is None else f"{r['neighbour_recall']:.4f}"
        count, _, compact = _kind(r)
        seed = search.get("seed", 0)
        faces = f"{count:,}" + _SAID[r["shape"]] + ", compact" * compact + f", seed {seed}" * bool(seed)
        bcubed = f"{r['bcubed_f']:.4f} ({r['bcubed_precision']:.4f})"
        whole = f"{r['largest_whole']:.4f}" if "largest_whole" in r else ""
        whole += f" ({r['largest_clear_whole']:.4f})" if "largest_clear_whole" in r else ""
        text.append(
            f"| {faces} | {r['threads']} | {r['seconds']:.0f} | {r.get('processor', '')} "
            f"| {parts.get('neighbours', '')} "
            f"| {r['anonymous_mb']:,} | {r['resident_mb']:,} | {recall} | {search.get('edges', 0):,} "
            f"| {r['people']:,} | {bcubed} | {whole} | {r.get('largest_clean', '')} |"
        )
    if against := _against_others([r for r in rows if not _kind(r)[2]]):
        text += ["", *against]
    storage.write_bytes(str(Path(out, f"{_NAME}.md")), ("\n".join(text) + "\n").encode())
