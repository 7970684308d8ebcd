"""What was committed, in a few numbers: all that comes back from the workers."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Summary:
    """How many chunks, photos by status, and faces were committed."""

    chunks: int = 0
    faces: int = 0
    photos: dict[str, int] = field(default_factory=dict)

    def __add__(self, other: Summary) -> Summary:
        photos = dict(Counter(self.photos) + Counter(other.photos))
        return Summary(self.chunks + other.chunks, self.faces + other.faces, photos)

    def to_json(self) -> str:
        """As text."""
        return json.dumps({"chunks": self.chunks, "faces": self.faces, "photos": self.photos})

    @classmethod
    def from_json(cls, text: str) -> Summary:
        """Reads what `to_json` wrote."""
        return cls(**json.loads(text))
