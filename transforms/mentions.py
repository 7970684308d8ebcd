"""What texts may say of what is forgotten: ids of faces, photos, people and corrections, and names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_ID = re.compile(r"\b[0-9a-f]{32}(?::\d+)?\b|\b[pc]-[0-9a-f]{8,}\b")


@dataclass(frozen=True)
class Mentions:
    """What must not be spoken of any more. `faces`, `photos` and `ids` (of people and corrections) are known
    as ids; `names` as whole words; `places` (paths of photos, and of faces as ``path#2``) as whole texts."""

    faces: frozenset[str] = frozenset()
    photos: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    places: frozenset[str] = frozenset()
    _names: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        words = sorted(map(re.escape, self.names), key=len, reverse=True)
        pattern = rf"(?<!\w)(?:{'|'.join(words)})(?!\w)" if words else r"(?!)"
        object.__setattr__(self, "_names", re.compile(pattern))

    def face(self, face: str) -> bool:
        """Whether a face is forgotten, itself or with its photo."""
        return face in self.faces or face.partition(":")[0] in self.photos

    def reference(self, text: str) -> bool:
        """Whether a reference of a correction speaks of what is forgotten, and of nothing else."""
        path = text.rpartition("#")[0]
        named = text in self.ids or text in self.names or text in self.places or path in self.places
        return named or self.face(text)

    def within(self, text: str) -> bool:
        """Whether a text speaks of it anywhere."""
        found = _ID.findall(text)
        return any(one in self.ids or self.face(one) for one in found) or bool(self._names.search(text))

    def without(self, value: object) -> object:
        """A JSON value without messages (texts in lists) that speak of it. Other texts are settings, which
        may be a word that is a name as well."""
        if isinstance(value, Mapping):
            return {key: self.without(v) for key, v in value.items()}
        if isinstance(value, list):
            return [self.without(v) for v in value if not (isinstance(v, str) and self.within(v))]
        return value

    def faces_left(self, faces: Iterable[str]) -> tuple[str, ...]:
        """The faces that are not forgotten."""
        return tuple(face for face in faces if not self.face(face))
