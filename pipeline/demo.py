"""``albumen demo``: a small archive to try Albumen on, made from photographs that installed packages ship.

Grace Hopper (matplotlib's sample data) and Eileen Collins (scikit-image's), each in several
lightings, sizes and rotations, and one photo with both. Both are public-domain portraits.
"""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image, ImageEnhance, ImageOps

from pipeline.options import UsageError

_ORIENTATION = 0x0112  # EXIF
# EXIF orientation → how an upright picture must be turned to be stored that way.
_STORED = {
    1: None,
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}


def portraits() -> dict[str, Image.Image]:
    """The two photographs by name. Raises UsageError where a package is missing."""
    try:
        import matplotlib.cbook
        import skimage.data
    except ImportError as error:
        raise UsageError(f"the demonstration needs {error.name}: pip install 'albumen[demo]'") from error
    hopper = Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("RGB")
    # No face is smaller than the other: the astronaut's fills less of her photo.
    return {"hopper": hopper, "collins": Image.fromarray(skimage.data.astronaut())}


def write_archive(folder: str) -> str:
    """Writes the archive into a new or empty folder, and says what it wrote."""
    target = Path(folder)
    if target.exists() and any(target.iterdir()):
        raise UsageError(f"{folder} is not empty: give a new folder for the demonstration archive")
    target.mkdir(parents=True, exist_ok=True)
    photos = portraits()
    for first_year, (name, photo) in zip((1984, 1986), photos.items(), strict=True):
        for number, (variant, orientation) in enumerate(_variants(photo), start=1):
            taken = f"{first_year + number // 4}:06:{number:02d} 12:00:00"
            _save(variant, target / name / f"{name}-{number}.jpg", orientation, taken)
    _save(_side_by_side(list(photos.values())), target / "together.jpg", 1, "1988:12:24 18:30:00")
    (target / "notes.txt").write_text("Not a photograph: the index says so.\n", encoding="utf-8")
    return f"{sum(len(files) for _, _, files in os.walk(target))} files in {folder}"


def _variants(photo: Image.Image) -> list[tuple[Image.Image, int]]:
    half = photo.resize((photo.width // 2, photo.height // 2), Image.Resampling.LANCZOS)
    return [
        (photo, 1),
        (ImageEnhance.Brightness(photo).enhance(0.6), 6),
        (ImageEnhance.Brightness(photo).enhance(1.35), 1),
        (ImageEnhance.Contrast(photo).enhance(0.7), 8),
        (ImageOps.grayscale(photo).convert("RGB"), 1),
        (half, 3),
        (photo.rotate(12, Image.Resampling.BICUBIC, expand=True, fillcolor=(90, 90, 90)), 1),
        (ImageEnhance.Color(half).enhance(1.8).rotate(-8, Image.Resampling.BICUBIC, expand=True), 1),
    ]


def _side_by_side(photos: list[Image.Image]) -> Image.Image:
    height = min(p.height for p in photos)
    scaled = [p.resize((p.width * height // p.height, height), Image.Resampling.LANCZOS) for p in photos]
    canvas = Image.new("RGB", (sum(p.width for p in scaled), height))
    left = 0
    for photo in scaled:
        canvas.paste(photo, (left, 0))
        left += photo.width
    return canvas


def _save(photo: Image.Image, path: Path, orientation: int, taken: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    exif.get_ifd(0x8769)[0x9003] = taken  # DateTimeOriginal
    turn = _STORED[orientation]
    stored = photo.transpose(turn) if turn is not None else photo
    stored.save(path, quality=92, exif=exif)
