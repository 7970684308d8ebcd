"""How far apart two faces of one person may be: thresholds on squared L2 distance between two vectors.

The paper's figure 1 puts it at 1.1 for its own network. For the embedders that Albumen ships it is
learnt, on centred vectors, from one half of LFW's people by ``albumen evaluate threshold``, and kept
beside this module.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib import resources

from models.calibration import calibration_key

PAPER_DISTANCE = 1.1
"""FaceNet, figure 1: "a threshold of 1.1 would classify every pair correctly"."""


@dataclass(frozen=True)
class SamePerson:
    """Two faces are of one person up to the squared `distance` of their centred vectors.

    That is said wrongly of `far` of all pairs of two people, and rightly of `val` of all pairs of one.
    """

    distance: float
    far: float
    val: float
    source: str

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_json(cls, text: str) -> SamePerson:
        """Reads what `to_json` wrote."""
        data = json.loads(text)
        return cls(float(data["distance"]), float(data["far"]), float(data["val"]), str(data["source"]))


def shipped_same_person(embedder: dict[str, object]) -> SamePerson | None:
    """The threshold that Albumen ships for the embedder that `EmbedderSpec.describe` describes, or None."""
    file = resources.files("models").joinpath("same_person", calibration_key(embedder))
    return SamePerson.from_json(file.read_text(encoding="utf-8")) if file.is_file() else None
