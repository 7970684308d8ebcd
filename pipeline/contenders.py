"""The loops that ``albumen bench index`` compares, each a process of its own on one core.

reference  facenet-pytorch as its README shows it: MTCNN(keep_all=True) on the upright photo, then
           InceptionResnetV1 on that photo's faces, float32
reduced    the same on photos reduced to 1280 pixels
albumen    the Beam graph that a worker runs, from files to committed Parquet, and where its time goes
stages     Albumen's stages one by one (`pipeline.stages`)

A process warms up on a few photos, says so, waits for a line on its standard input, and works
through its photos; what it measured is one line of JSON. A worker starts its graph once for thousands
of photos, so Albumen gets a small set several times over, as different files, and so do its stages.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

REFERENCE, REDUCED, ALBUMEN, STAGES = "reference", "reduced", "albumen", "stages"
CONTENDERS = (REFERENCE, REDUCED, ALBUMEN)
REDUCED_SIDE = 1280
_WARM_UP = 3


def main() -> None:
    """``python -m pipeline.contenders NAME ENGINE PRECISION PASSES``, with the photos' paths as JSON on the
    first line."""
    name, engine, precision, passes = sys.argv[1:]
    paths = json.loads(sys.stdin.readline())
    with tempfile.TemporaryDirectory(prefix="albumen-bench-") as work:
        if name == ALBUMEN:
            run, paths = _albumen(engine, precision, work), several_times(paths, int(passes), work)
        elif name == STAGES:
            run, paths = _stages(engine, precision), paths * int(passes)
        else:
            run = _facenet_pytorch(reduced=name == REDUCED)
        run(paths[:_WARM_UP])
        print("ready", flush=True)
        sys.stdin.readline()
        started = time.monotonic()
        found = run(paths)
        seconds = time.monotonic() - started
    measured = {
        "photos": len(paths), "failed": 0, "seconds": seconds, "peak_mb": _peak_bytes() / 1e6, **found,
    }  # fmt: skip
    print(json.dumps(measured), flush=True)


def several_times(paths: Sequence[str], passes: int, folder: str) -> list[str]:
    """Copies of all photos, `passes` times, each time a byte longer: known content is not looked at again."""
    copies = []
    for turn in range(passes):
        os.makedirs(os.path.join(folder, "photos", str(turn)))
        for number, path in enumerate(paths):
            name = f"{number}-{os.path.basename(path)}"
            copies.append(os.path.join(folder, "photos", str(turn), name))
            Path(copies[-1]).write_bytes(Path(path).read_bytes() + b"\0" * turn)
    return copies


def _peak_bytes() -> int:
    """The most memory that was resident at a time."""
    try:
        # Linux: what getrusage says would include the process that started this one.
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS counts bytes


def _facenet_pytorch(*, reduced: bool):
    import torch
    from facenet_pytorch import MTCNN, InceptionResnetV1
    from PIL import Image, ImageOps

    from models.facenet_weights import load_casia

    torch.set_num_threads(1)
    mtcnn = MTCNN(keep_all=True)
    resnet = InceptionResnetV1(pretrained=None)
    resnet.load_state_dict(load_casia())
    resnet.eval()

    def run(paths: Sequence[str]) -> dict[str, object]:
        count = failed = 0
        with torch.no_grad():
            for path in paths:
                try:
                    count += faces_of(path)
                except Exception:  # its crashes, as on a photo of 12 pixels, are part of what is measured
                    failed += 1
        return {"faces": count, "failed": failed}

    def faces_of(path: str) -> int:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file).convert("RGB")
        if reduced:
            image.thumbnail((REDUCED_SIDE, REDUCED_SIDE))
        faces = mtcnn(image)
        if faces is None:
            return 0
        resnet(faces)
        return len(faces)

    return run


def _stages(engine: str, precision: str):
    from models.engine import choose_engine
    from pipeline.stages import StageClock

    return StageClock(choose_engine(backend=engine, precision=precision))


def _albumen(engine: str, precision: str, work: str):
    from models.facenet_weights import FACENET_CASIA
    from pipeline.graph import LOCAL_RUNNER, run_graph
    from pipeline.kernel_clock import KernelClock
    from pipeline.options import IndexOptions
    from transforms import storage
    from transforms.index_config import IndexConfig
    from transforms.known_content import KNOWN_CONTENT, KnownContent
    from transforms.library import MANIFESTS, Library
    from transforms.listing import RootGuard
    from transforms.manifest import ManifestWriter
    from transforms.records import ERROR, FileEntry
    from transforms.tables import FACE_ID, STATUS

    clock = KernelClock()

    def run(paths: Sequence[str]) -> dict[str, object]:
        folder = tempfile.mkdtemp(dir=work)
        root = os.path.commonpath([os.path.dirname(p) for p in paths])
        library = Library.create(os.path.join(folder, "library"))
        config = IndexConfig(
            library=library.path, run="bench", root="root", location=root, guard=RootGuard.of(root),
            embedder=FACENET_CASIA, backend=engine, precision=precision, decode_threads=1,
        )  # fmt: skip
        library.use_fingerprint(config.fingerprint(), config.settings())
        writer = ManifestWriter(library.file(MANIFESTS), config.run, chunk_size=IndexOptions().chunk_size)
        for path in paths:
            stat = Path(path).stat()
            entry = FileEntry(
                "root", os.fsencode(os.path.relpath(path, root)), stat.st_size, stat.st_mtime_ns // 1000
            )
            writer.add(entry)
        chunks = writer.close()
        KnownContent.of(library).save(storage.join(config.manifests, config.run, KNOWN_CONTENT))
        with clock.of(len(paths)) as milliseconds:
            run_graph(config, chunks, LOCAL_RUNNER)
        failed = library.read_photos([STATUS])[STATUS].to_pylist().count(ERROR)
        faces = len(library.read_faces([FACE_ID]))
        return {"faces": faces, "failed": failed, "milliseconds": milliseconds}

    return run


if __name__ == "__main__":
    main()
