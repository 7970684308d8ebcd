"""Which faces corrections tie together, through which lines: a graph of lines and the faces they name.

A face is in a line `exact`, where the user spoke of this face, or as one of the anchors of a person. An
anchor may be a stranger that a grouping had mixed in, so where lines collide, anchors give way first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import combinations, pairwise

import numpy as np


class TieGraph:
    """Lines by id, in the order of their dates, each with its faces: row → exact or not; and for each line
    the faces of every one of its references."""

    def __init__(
        self, lines: Mapping[str, Mapping[int, bool]], references: Mapping[str, Sequence[Collection[int]]]
    ) -> None:
        self._faces = {line: dict(faces) for line, faces in lines.items()}
        self._lines: dict[int, list[str]] = {}
        for line, faces in self._faces.items():
            for face in faces:
                self._lines.setdefault(face, []).append(line)
        self._part_chance_anchors(references)

    @property
    def lines(self) -> list[str]:
        """The ids of all lines, in order."""
        return list(self._faces)

    def faces(self, line: str) -> dict[int, bool]:
        """The faces that a line ties; none for a line that ties nothing."""
        return self._faces.get(line, {})

    def components(self) -> dict[int, int]:
        """For every tied face the number of its component."""
        number: dict[int, int] = {}
        for start in self._lines:
            if start not in number:
                for face in self._reached(start):
                    number[face] = start
        return number

    def drop(self, lines: Iterable[str]) -> None:
        """Takes lines out."""
        for line in lines:
            for face in list(self.faces(line)):
                self._cut(line, face)

    def free(self, face: int, others: Collection[int]) -> None:
        """Takes `face` out of the anchors of every line that would tie it to one of `others`."""
        for line in list(self._lines.get(face, ())):
            if not self._faces[line][face] and self._leads_to(line, others, without=face):
                self._cut(line, face)

    def lines_between(self, face: int, other: int) -> list[str]:
        """All lines that must go so that nothing ties the two faces: of every shortest way its lines."""
        found: set[str] = set()
        while way := self._way(self._lines.get(face, ()), lambda step: other in self._faces[step], found):
            found.update(way)
        return [line for line in self._faces if line in found]

    def loosen(self, line: str, other: str) -> bool:
        """Parts two lines where that costs anchors alone, where lines meet in a face that only one of
        them names exactly. Whether they are parted then."""
        while way := self._way([line], lambda step: step == other, ()):
            if not self._cut_meeting_points(way):
                return False
        return True

    def _part_chance_anchors(self, references: Mapping[str, Sequence[Collection[int]]]) -> None:
        """Two lines that share few anchors speak of different people: the older line gives these up.

        They speak of one where most anchors of one of a line's references are the other's too. A line may
        speak of several people, so that what it shares is not to be compared with all its anchors.
        """
        soft = {line: {f for f, exact in faces.items() if not exact} for line, faces in self._faces.items()}
        pairs = {
            (older, newer)
            for face, lines in self._lines.items()
            for older, newer in combinations([line for line in lines if face in soft[line]], 2)
        }
        sides = {line: [soft[line] & set(r) for r in references.get(line, ())] for line in self._faces}
        for older, newer in sorted(pairs):
            shared = soft[older] & soft[newer]
            if not any(2 * len(side & shared) > len(side) for side in (*sides[older], *sides[newer])):
                for face in shared:
                    self._cut(older, face)

    def _cut(self, line: str, face: int) -> None:
        if self._faces[line].pop(face, None) is not None:
            self._lines[face].remove(line)

    def _reached(self, start: int) -> set[int]:
        seen, queue, lines = {start}, deque([start]), set()
        while queue:
            for line in self._lines.get(queue.popleft(), ()):
                if line not in lines:
                    lines.add(line)
                    fresh = self._faces[line].keys() - seen
                    seen |= fresh
                    queue.extend(fresh)
        return seen

    def _leads_to(self, line: str, targets: Collection[int], *, without: int) -> bool:
        wanted, seen = set(targets) - {without}, {line}
        queue = deque([line])
        while queue:
            faces = self._faces[queue.popleft()].keys() - {without}
            if faces & wanted:
                return True
            fresh = {other for face in faces for other in self._lines[face]} - seen
            seen |= fresh
            queue.extend(fresh)
        return False

    def _way(
        self, starts: Iterable[str], is_end: Callable[[str], bool], blocked: Collection[str]
    ) -> list[str]:
        """A shortest way from one of the lines to an end over faces that lines share; [] without any."""
        came: dict[str, str | None] = {line: None for line in starts if line not in blocked}
        queue = deque(came)
        while queue:
            line = queue.popleft()
            if is_end(line):
                way = [line]
                while (before := came[way[-1]]) is not None:
                    way.append(before)
                return way[::-1]
            for face in self._faces[line]:
                for following in self._lines[face]:
                    if following not in came and following not in blocked:
                        came[following] = line
                        queue.append(following)
        return []

    def _cut_meeting_points(self, way: list[str]) -> bool:
        cut = False
        for first, second in pairwise(way):
            for face in self._faces[first].keys() & self._faces[second].keys():
                exact = (self._faces[first][face], self._faces[second][face])
                if exact[0] != exact[1]:
                    self._cut(second if exact[0] else first, face)
                    cut = True
        return cut


def array(faces: Iterable[int]) -> np.ndarray:
    """int64[n], ascending, each once."""
    return np.array(sorted(set(faces)), np.int64)
