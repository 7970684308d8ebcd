"""``albumen bench camera``: photographs like a camera's, for the benchmark.

Twelve megapixels and some four megabytes each, with one to five faces from 20 to 400 pixels: faces of
portraits and labelled crowds, brought to that size and laid into a part of a crowd's photograph that
shows no labelled face, enlarged. Faces below 40 pixels are always reduced, so they are as small in
detail as in pixels; large ones are mostly enlarged, and show less than a camera's would.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from pipeline.options import UsageError

WIDTH, HEIGHT = 4032, 3024
_BYTES = 4_000_000
_FACES = (20, 400)
_LEAST_BACKGROUND = 200  # pixels: less has no structure left when it is enlarged
_GRAIN = 6.0  # a sensor's noise, without which an enlarged photograph is smoother than any camera's


@dataclass(frozen=True)
class _Crowd:
    path: Path
    boxes: np.ndarray  # int64[n, 4] x, y, width, height


def write_camera_photos(portraits: str, crowds: str, boxes: str, out: str, *, count: int, seed: int) -> int:
    """Writes `count` JPEG files into the folder `out`; the number of faces laid into them.

    `portraits` is a folder with a face in the middle of each photograph (LFW); `crowds` and `boxes`
    photographs with labelled faces (WIDER FACE; a JSON file photo → list of {box: [x, y, w, h]}).
    Raises UsageError where there are no portraits, or no crowd with room for a background.
    """
    random = np.random.default_rng(seed)
    people = sorted(p for p in Path(portraits).rglob("*.jpg"))
    labelled = json.loads(Path(boxes).read_text(encoding="utf-8"))
    files = {p.name: p for p in Path(crowds).rglob("*") if p.is_file()}
    scenes = [
        _Crowd(files[Path(name).name], np.array([f["box"] for f in faces], np.int64).reshape(-1, 4))
        for name, faces in sorted(labelled.items())
        if Path(name).name in files
    ]
    if not people:
        raise UsageError(f"{portraits} holds no portraits: give a folder with files *.jpg")
    backgrounds = _Backgrounds(scenes, crowds)
    target = Path(out)
    target.mkdir(parents=True, exist_ok=True)
    total = 0
    for number in range(count):
        canvas = backgrounds.draw(random)
        faces = int(random.integers(1, 6))
        taken: list[tuple[int, int, int]] = []
        while len(taken) < faces:
            _lay_face(canvas, people, scenes, taken, random)
        total += faces
        (target / f"camera_{number:04d}.jpg").write_bytes(_encoded(canvas, random))
    return total


class _Backgrounds:
    """Draws backgrounds from those crowds that have one; what has none is opened once."""

    def __init__(self, scenes: list[_Crowd], folder: str) -> None:
        self._scenes, self._folder = scenes, folder
        self._without: set[int] = set()

    def draw(self, random: np.random.Generator) -> Image.Image:
        while len(self._without) < len(self._scenes):
            number = int(random.integers(len(self._scenes)))
            if number not in self._without:
                canvas = _background(self._scenes[number])
                if canvas is not None:
                    return canvas
                self._without.add(number)
        raise UsageError(
            f"{self._folder} has no labelled photograph with {_LEAST_BACKGROUND} rows of pixels above or "
            "below its faces: give more photographs, such as WIDER FACE"
        )


def _background(crowd: _Crowd) -> Image.Image | None:
    """The largest part in the shape of a photo between the faces, above or below them all, enlarged."""
    with Image.open(crowd.path) as file:
        image = file.convert("RGB")
    top = int(crowd.boxes[:, 1].min(initial=image.height))
    bottom = int((crowd.boxes[:, 1] + crowd.boxes[:, 3]).max(initial=0))
    low, high = max(((0, top), (bottom, image.height)), key=lambda band: band[1] - band[0])
    height = min(high - low, image.width * HEIGHT // WIDTH)
    if height < _LEAST_BACKGROUND:
        return None
    width = height * WIDTH // HEIGHT
    part = image.crop(((image.width - width) // 2, low, (image.width + width) // 2, low + height))
    return part.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)


def _lay_face(canvas, people, scenes, taken, random) -> None:
    """Pastes one face with some of what is around it, its rim blended, where there is room."""
    size = int(np.exp(random.uniform(*np.log(_FACES))))
    if random.random() < 0.5:
        with Image.open(people[random.integers(len(people))]) as file:
            image = file.convert("RGB")
        x, y, side = image.width / 2, image.height / 2, 0.4 * image.width
    else:
        crowd = scenes[random.integers(len(scenes))]
        large = crowd.boxes[(crowd.boxes[:, 2] >= 40) & (crowd.boxes[:, 3] >= 40)]
        if not len(large):
            return
        box = large[random.integers(len(large))]
        with Image.open(crowd.path) as file:
            image = file.convert("RGB")
        x, y, side = box[0] + box[2] / 2, box[1] + box[3] / 2, float(box[2:].max())
    reach = 0.95 * side
    part = image.crop((round(x - reach), round(y - reach), round(x + reach), round(y + reach)))
    width = round(2 * reach * size / side)
    part = part.resize((width, width), Image.Resampling.LANCZOS)
    at = int(random.integers(0, WIDTH - width)), int(random.integers(0, HEIGHT - width))
    if any(abs(at[0] - u) < max(width, w) and abs(at[1] - v) < max(width, w) for u, v, w in taken):
        return
    mask = Image.new("L", (width, width), 0)
    rim = max(1, width // 12)
    mask.paste(255, (rim, rim, width - rim, width - rim))
    canvas.paste(part, at, mask.filter(ImageFilter.GaussianBlur(rim / 2)))
    taken.append((*at, width))


def _encoded(image: Image.Image, random: np.random.Generator) -> bytes:
    """As JPEG with a sensor's grain, of the quality that comes nearest to four megabytes."""
    grain = random.normal(0, _GRAIN, (HEIGHT, WIDTH, 1)).astype(np.float32)
    pixels = np.clip(np.asarray(image, np.float32) + grain, 0, 255).astype(np.uint8)
    noisy = Image.fromarray(pixels)
    versions = []
    for quality in (70, 80, 86, 90, 93, 95):
        buffer = io.BytesIO()
        noisy.save(buffer, "JPEG", quality=quality)
        versions.append(buffer.getvalue())
        if len(versions[-1]) > _BYTES:
            break
    return min(versions, key=lambda data: abs(len(data) - _BYTES))
