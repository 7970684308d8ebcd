"""What was decided over the life of a library: through power cuts, and whatever comes in whatever order."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeline.correct import correct
from pipeline.group import group_library
from tests.grown_library import PEOPLE, GrownLibrary, assigned, people, person_of, regroup, six_people
from transforms import storage
from transforms.corrections import KINDS, NAME, RENAME, Anchor, CorrectionError, parse
from transforms.decisions import read_decisions
from transforms.enforcement import violations
from transforms.tables import FACE_ID, FACES
from transforms.tables import NAME as NAMES


@pytest.fixture
def grown(tmp_path: Path) -> GrownLibrary:
    return six_people(tmp_path / "library")


class Power(BaseException):
    """The power fails."""


class Os:
    """The module ``os`` with one function replaced, for `transforms.storage` alone."""

    def __init__(self, name: str, function: Callable) -> None:
        setattr(self, name, function)

    def __getattr__(self, name: str) -> object:
        return getattr(os, name)


@pytest.mark.parametrize("step", ["fsync", "replace", "makedirs"])
def test_power_cuts_leave_the_state_before_or_the_state_after(
    grown: GrownLibrary, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, anna = grown.library, person_of(grown, 0)
    correct(library, "name", [anna], name="Anna")
    regroup(grown)
    real, cuts = getattr(os, step), 0
    for cut in range(100):
        revision, corrections = library.current_revision(), library.read_corrections()
        before, calls = assigned(library), 0

        def failing(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls > cut:  # noqa: B023
                raise Power
            return real(*args, **kwargs)

        monkeypatch.setattr(storage, "os", Os(step, failing))
        try:
            correct(library, "not-this-person", [grown.face("album/0001.jpg"), anna])
            group_library(library, method="default", seed=0)
            done = True
        except Power:
            done, cuts = False, cuts + 1
        finally:
            monkeypatch.setattr(storage, "os", os)
        found = library.read_corrections()
        assert found.startswith(corrections) and not parse(found).problems
        assert people(library)[anna][NAMES] == "Anna"
        held = Counter(p for p in assigned(library).values() if p)
        assert held == {p: row[FACES] for p, row in people(library).items()}, "a revision that is not whole"
        assert library.current_revision() != revision or assigned(library) == before
        if done:
            break
    assert done and cuts


class Life(RuleBasedStateMachine):
    """Photos come, change and go, the user corrects, runs regroup; what was decided holds throughout."""

    folder: Path
    count = 0

    @initialize(seed=st.integers(0, 5))
    def begin(self, seed: int) -> None:
        type(self).count += 1
        self.random = np.random.default_rng(seed)
        self.grown = GrownLibrary(self.folder / str(type(self).count), noise=0.3)
        self.grown.add(*[[int(p)] for p in self.random.integers(0, PEOPLE, 24)])
        self.ever: dict[str, str] = {}
        self.group("default")

    @rule(method=st.sampled_from(["default", "default", "agglomerative"]))
    def group(self, method: str) -> None:
        self.summary = regroup(self.grown, method)

    @rule(who=st.lists(st.lists(st.integers(0, PEOPLE - 1), min_size=1, max_size=2), min_size=1, max_size=5))
    def add(self, who: list[list[int]]) -> None:
        self.grown.add(*who)
        self.group("default")

    @precondition(lambda self: len(self.grown.photos) > 10)
    @rule(data=st.data())
    def remove_or_edit(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(self.grown.photos)))
        change = data.draw(st.sampled_from([self.grown.edit, self.grown.remove]))
        change(path)
        self.group("default")

    @rule(data=st.data())
    def correct(self, data: st.DataObject) -> None:
        faces = st.sampled_from(sorted(self.grown.photos)).map(lambda p: f"{p}#1")
        known = sorted(people(self.grown.library))
        person = st.sampled_from(known) if known else faces
        kind = data.draw(st.sampled_from([k for k in KINDS if k != "same-photo-allowed"]))
        who = {
            "merge": [person, person], "same": [faces, faces | person], "different": [faces | person] * 2,
            "split": [person, faces, faces], "not-this-person": [faces, person], "not-a-face": [faces],
            "undo": [st.sampled_from([c.id for c in self.corrections()] or ["c-00000000"])],
        }.get(kind, [person])  # fmt: skip
        name = data.draw(st.sampled_from(["Anna", "Bo", "Cy", "=Dan"]))
        try:
            correct(self.grown.library, kind, [data.draw(w) for w in who], name=name)
        except CorrectionError:
            return
        self.group("default")

    @precondition(lambda self: len(people(self.grown.library)) > 3)
    @rule(data=st.data(), between=st.booleans())
    def merge_twice(self, data: st.DataObject, between: bool) -> None:
        """A person who was merged is merged again."""
        known = st.sampled_from(sorted(people(self.grown.library)))
        first, second, third = data.draw(st.lists(known, min_size=3, max_size=3, unique=True))
        for who in ([first, second], [second, third]):
            try:
                correct(self.grown.library, "merge", who)
            except CorrectionError:
                continue
            if between:
                self.group("default")
        self.group("default")

    def corrections(self):
        return parse(self.grown.library.read_corrections()).corrections

    @invariant()
    def every_correction_holds(self) -> None:
        library = self.grown.library
        faces = library.read_faces([FACE_ID])[FACE_ID].combine_chunks()
        group = assigned(library)
        assert set(faces.to_pylist()) == set(group)
        numbers = {p: i for i, p in enumerate(people(library))}
        labels = np.array([numbers[group[f]] if group[f] else -1 for f in faces.to_pylist()], np.int64)
        assert violations(labels, read_decisions(library, faces).constraints) == []

    @invariant()
    def what_was_said_is_so(self) -> None:
        """By the lines alone, without what Albumen makes of them: who holds the faces that a line meant."""
        library, group = self.grown.library, assigned(self.grown.library)
        decisions = read_decisions(library, library.read_faces([FACE_ID])[FACE_ID].combine_chunks())
        troubled = {line for problem in decisions.problems for line in problem.lines}
        exact = {f for c in decisions.corrections for a in c.anchors.values() if a.exact for f in a.faces}
        for c in decisions.corrections:
            sides = [_holder(c.anchors[r], group, exact) for r in c.references]
            if c.line in troubled or UNKNOWN in sides:
                continue
            if c.kind in ("merge", "same"):
                assert len(set(sides)) == 1 and sides[0], f"{c}: {sides}"
            elif c.kind == "split":
                assert len(set(sides[1:])) == 1 and sides[0] != sides[1], f"{c}: {sides}"
            elif c.kind in ("different", "not-this-person"):
                assert sides[0] is None or sides[0] != sides[1], f"{c}: {sides}"
            elif c.kind == "not-a-face":
                assert sides == [None], f"{c}: {sides}"

    @invariant()
    def ids_point_to_someone(self) -> None:
        counts = Counter(p for p in assigned(self.grown.library).values() if p)
        assert counts == {p: row[FACES] for p, row in people(self.grown.library).items()}

    @invariant()
    def no_name_is_lost_without_a_word(self) -> None:
        shown = {row[NAMES] for row in people(self.grown.library).values()}
        said = shown | set(self.summary.names_without_person)
        file = parse(self.grown.library.read_corrections())
        renamed = any(c.kind in (RENAME, "merge", "same") for c in file.active)
        for c in file.active:
            if c.kind == NAME and not renamed:
                assert c.name in said or any(c.name in p for p in self.summary.problems)


UNKNOWN = "unknown"


def _holder(anchor: Anchor, group: dict[str, str | None], exact: set[str]) -> str | None:
    """Who has the face, or clearly most of a person's anchors; of what is said exactly these don't speak."""
    if anchor.exact:
        return group.get(anchor.faces[0], UNKNOWN)
    held = Counter(group[f] for f in anchor.faces if f in group and f not in exact)
    person, most = held.most_common(1)[0] if held else (None, 0)
    return person if person and 2 * most > held.total() else UNKNOWN


def test_nothing_that_was_decided_is_lost_over_a_library_s_life(tmp_path: Path) -> None:
    Life.folder = tmp_path
    machine = Life.TestCase
    machine.settings = settings(
        max_examples=8, stateful_step_count=10, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    machine().runTest()
