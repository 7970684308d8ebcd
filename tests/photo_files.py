"""Photographs for tests, made in memory: one small picture in every format, RAW files included."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image

WIDTH, HEIGHT = 96, 64
TAKEN = "2019:07:14 18:32:05"
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "GIF", "BMP", "HEIF", "AVIF")
ORIENTATION, DATE_TIME, EXIF_POINTER = 0x0112, 0x0132, 0x8769

# How an upright picture is turned to lie in a file of each orientation.
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def picture(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """A smooth picture that no rotation or mirroring maps to itself, with no colour in two corners."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    channels = (255 * x, 255 * y, 200 * (1 - x) * (1 - y))
    return Image.fromarray(np.stack(channels, axis=2).astype(np.uint8))


def exif_block(
    *, orientation: int = 1, taken: str = TAKEN, exposure: dict[int, Any] | None = None
) -> Image.Exif:
    """An EXIF block; `exposure` are the tags of its EXIF directory."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[DATE_TIME] = taken
    if exposure:
        exif.get_ifd(EXIF_POINTER).update(exposure)
    return exif


def encode(format: str, image: Image.Image | None = None, **options: Any) -> bytes:
    """A file of a format by Pillow's name, or HEIF; skips the test where it can't be written."""
    image = image or picture()
    file = io.BytesIO()
    if format == "HEIF":
        if not pillow_heif.libheif_info()["HEIF"]:
            pytest.skip("this pillow-heif has no encoder")
        pillow_heif.from_pillow(image).save(file, **options)
    else:
        if format == "AVIF" and "AVIF" not in _writable_formats():
            pytest.skip("this Pillow has no AVIF")
        image.save(file, format, **options)
    return file.getvalue()


def _writable_formats() -> set[str]:
    Image.init()
    return set(Image.SAVE)


def jpeg(width: int = WIDTH, height: int = HEIGHT, **options: Any) -> bytes:
    return encode("JPEG", picture(width, height), **{"quality": 92, **options})


@functools.cache
def sample(format: str) -> bytes:
    """A photo with a time; MPO with a second frame."""
    options: dict[str, Any] = {"save_all": True, "append_images": [picture()]} if format == "MPO" else {}
    if format not in ("GIF", "BMP", "TIFF"):
        options["exif"] = exif_block(exposure={0x9003: TAKEN}).tobytes()
    return encode(format, **options)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# -- TIFF structures and RAW files ---------------------------------------------------------------

# A tag's value: numbers (LONG), text (ASCII), or a blob given by its place (UNDEFINED).
Value = list[int] | bytes | tuple[int, int]


def directory(entries: dict[int, Value], *, at: int, following: int = 0, order: str = "<") -> bytes:
    """A TIFF directory with the values it needs behind it, for offset `at` of the file."""
    rows, values = b"", b""
    behind = at + 2 + 12 * len(entries) + 4
    for tag, value in sorted(entries.items()):
        if isinstance(value, tuple):
            rows += struct.pack(order + "HHII", tag, 7, value[1], value[0])
            continue
        kind, count = (2, len(value)) if isinstance(value, bytes) else (4, len(value))
        data = value if isinstance(value, bytes) else struct.pack(f"{order}{count}I", *value)
        if len(data) > 4:
            rows += struct.pack(order + "HHII", tag, kind, count, behind + len(values))
            values += data
        else:
            rows += struct.pack(order + "HHI", tag, kind, count) + data.ljust(4, b"\0")
    return struct.pack(order + "H", len(entries)) + rows + struct.pack(order + "I", following) + values


def tiff_raw(
    preview: bytes,
    *,
    magic: bytes = b"II*\0",
    place: str = "pointer",
    orientation: int = 1,
    thumbnail: bytes = b"",
    sensor: bytes = b"\x5a" * 300,
    extra: dict[int, Value] | None = None,
) -> bytes:
    """A RAW file made of directories, `preview` being named in one of the ways cameras name it.

    place: ``pointer`` (JPEGInterchangeFormat in a SubIFD), ``strip`` (one JPEG strip in IFD0),
    ``blob`` (Panasonic's JpgFromRaw), ``nowhere`` (left to be found).
    """
    order = "<" if magic[:2] == b"II" else ">"
    first, sub, second, pixels = 32, 1000, 1200, 1400
    thumbnail_at = pixels + len(sensor)
    preview_at = thumbnail_at + len(thumbnail)
    main: dict[int, Value] = {
        ORIENTATION: [orientation],
        DATE_TIME: TAKEN.encode() + b"\0",
        **(extra or {}),
    }
    other: dict[int, Value] = {0x0103: [1], 0x0111: [pixels], 0x0117: [len(sensor)]}
    if place == "pointer":
        other |= {0x0201: [preview_at], 0x0202: [len(preview)]}
    elif place == "strip":
        main |= {0x0103: [6], 0x0111: [preview_at], 0x0117: [len(preview)]}
    elif place == "blob":
        main |= {0x002E: (preview_at, len(preview))}
    main |= {0x014A: [sub]}
    small: dict[int, Value] = (
        {0x0201: [thumbnail_at], 0x0202: [len(thumbnail)]} if thumbnail else {0x0103: [1]}
    )
    file = magic + struct.pack(order + "I", first)
    file = file.ljust(first, b"\0") + directory(main, at=first, following=second, order=order)
    file = file.ljust(sub, b"\0") + directory(other, at=sub, order=order)
    file = file.ljust(second, b"\0") + directory(small, at=second, order=order)
    return file.ljust(pixels, b"\0") + sensor + thumbnail + preview


def fujifilm_raw(preview: bytes) -> bytes:
    """A RAF file: a header, the preview, the sensor's data."""
    header = b"FUJIFILMCCD-RAW 0201FF383501X-T2".ljust(84, b"\0")
    header += struct.pack(">II", 160, len(preview))
    return header.ljust(160, b"\0") + preview + b"\x5a" * 300


def box(kind: bytes, content: bytes) -> bytes:
    """A box of an ISO base media file."""
    return struct.pack(">I4s", 8 + len(content), kind) + content


def canon_raw(preview: bytes, *, orientation: int = 1, thumbnail: bytes = b"") -> bytes:
    """A CR3 file: EXIF blocks and thumbnail in the movie header, the preview in the media data."""
    head = b"II*\0\x08\0\0\0"
    image = head + directory({ORIENTATION: [orientation]}, at=8)
    exposure = head + directory({0x9003: TAKEN.encode() + b"\0", 0x9011: b"+09:00\0"}, at=8)
    canon = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")
    inner = box(b"CMT1", image) + box(b"CMT2", exposure) + box(b"THMB", b"\0" * 16 + thumbnail)
    moov = box(b"moov", box(b"uuid", canon + inner))
    return box(b"ftyp", b"crx \0\0\0\x01crx isom") + moov + box(b"mdat", preview + b"\x5a" * 300)
