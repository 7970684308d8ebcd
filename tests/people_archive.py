"""Small archives of real faces for tests: portraits that installed packages ship, cut small."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageEnhance

from pipeline.demo import portraits


@lru_cache(maxsize=1)
def faces() -> dict[str, Image.Image]:
    """Head and shoulders of two people, some 200 pixels high."""
    found = portraits()
    hopper, collins = found["hopper"], found["collins"]
    return {
        "hopper": hopper.crop((130, 20, 410, 400)).resize((200, 271)),
        "collins": collins.crop((120, 0, 350, 300)).resize((200, 261)),
    }


def jpeg(image: Image.Image, **options: object) -> bytes:
    """An image as a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


@lru_cache(maxsize=64)
def portrait(person: str, variant: int = 0) -> bytes:
    """A JPEG of `person`; every variant is another file with the same face."""
    return jpeg(ImageEnhance.Brightness(faces()[person]).enhance(0.7 + 0.05 * variant))


@lru_cache(maxsize=1)
def together() -> bytes:
    """A JPEG with both people."""
    pair = list(faces().values())
    canvas = Image.new("RGB", (420, 280), (120, 120, 120))
    for left, image in zip((0, 210), pair, strict=True):
        canvas.paste(image, (left, 0))
    return jpeg(canvas)


@lru_cache(maxsize=1)
def landscape() -> bytes:
    """A JPEG without a face."""
    return jpeg(Image.linear_gradient("L").resize((160, 120)).convert("RGB"))


def write_archive(folder: Path, *, portraits_each: int = 3) -> Path:
    """An archive with some photos of each of the two, one of both, one of nobody."""
    for person in ("hopper", "collins"):
        (folder / person).mkdir(parents=True)
        for variant in range(portraits_each):
            (folder / person / f"{person}-{variant}.jpg").write_bytes(portrait(person, variant))
    (folder / "together.jpg").write_bytes(together())
    (folder / "landscape.jpg").write_bytes(landscape())
    return folder
