"""What the steps of indexing need to know, as plain values that any worker can be sent."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from models.detector import MtcnnSettings
from models.embedder import EmbedderSpec, embedder_spec, fingerprint
from models.engine import Engine, choose_engine
from transforms import storage
from transforms.archive import RootGuard
from transforms.library import MANIFESTS

DEFAULT_MAX_PIXELS = 250_000_000


@dataclass(frozen=True)
class IndexConfig:
    """How a run indexes.

    `root` is the archive's name in the library and `location` where it lies (text; bytes that are
    not UTF-8 as surrogates). `until` is seconds since 1970: no chunk is begun after it.
    `progress_fd` is a pipe on which a worker reports what it does, None where nobody listens.
    """

    library: str
    run: str
    root: str
    location: str
    guard: RootGuard
    embedder: str
    mirror: bool = False
    detector: MtcnnSettings = MtcnnSettings()
    max_pixels: int = DEFAULT_MAX_PIXELS
    thumbs: bool = True
    until: float | None = None
    device: str = "cpu"
    backend: str = "auto"
    precision: str = "auto"
    decode_threads: int = 2
    progress_fd: int | None = None

    @property
    def manifests(self) -> str:
        """The folder with the listings of runs."""
        return storage.join(self.library, MANIFESTS)

    def engine(self) -> Engine:
        """What runs the networks on this machine."""
        return choose_engine(backend=self.backend, device=self.device, precision=self.precision)

    def embedder_spec(self) -> EmbedderSpec:
        """The embedder. Raises WeightsError."""
        return embedder_spec(self.embedder, mirror=self.mirror)

    def settings(self) -> dict[str, object]:
        """What the fingerprint covers."""
        return {"detector": self.detector.describe(), "embedder": self.embedder_spec().describe()}

    def fingerprint(self) -> str:
        """The short name of how vectors are made."""
        return fingerprint(self.detector.describe(), self.embedder_spec().describe())

    def to_json(self) -> str:
        """As text, for a worker process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> IndexConfig:
        """Reads what `to_json` wrote."""
        data = json.loads(text)
        data["guard"] = RootGuard(**data["guard"])
        detector = data["detector"]
        data["detector"] = MtcnnSettings(**{**detector, "thresholds": tuple(detector["thresholds"])})
        return cls(**data)
