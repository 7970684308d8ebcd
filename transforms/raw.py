"""The JPEG preview inside a camera's RAW file.

Developing a RAW file takes seconds; every camera stores a JPEG of the same picture in it, mostly
at full size and never too small for faces. Most RAW formats are TIFF structures that name their
previews; for the others, and where the directories name only a thumbnail, the largest JPEG found
anywhere in the file is taken.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from transforms.exif import Directory, Exif, Tiff, read_exif
from transforms.file_kinds import RAW_EXTENSIONS, extension, iso_boxes

_COMPRESSION, _STRIP_OFFSETS, _STRIP_LENGTHS = 0x0103, 0x0111, 0x0117
_JPEG_OFFSET, _JPEG_LENGTH = 0x0201, 0x0202
_DNG_VERSION = 0xC612
# JpgFromRaw and JpgFromRaw2: https://exiftool.org/TagNames/PanasonicRaw.html
_PANASONIC_PREVIEWS = (0x002E, 0x0127)
# The box of CR3 that holds the EXIF blocks: https://github.com/lclevy/canon_cr3
_CANON_UUID = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")

_MAX_SEGMENTS = 256
_MAX_SCANNED = 1_000
# Smaller than this, a preview named by the directories is a thumbnail: older cameras have the
# larger one in their maker notes, where only a scan finds it.
_THUMBNAIL_SIDE = 1_000


@dataclass(frozen=True)
class Preview:
    """Where the JPEG lies in the file (`end` behind its end: the file is cut), and the RAW's EXIF."""

    start: int
    end: int
    exif: Exif


def raw_format(data: bytes, name: bytes) -> str | None:
    """``CR2``, ``NEF``, ...: which RAW format a file is in; None where it is not one.

    By content where the format has a signature of its own, by extension among those that are
    plain TIFF files.
    """
    suffix = extension(name)
    if data[:4] in (b"II*\0", b"MM\0*"):
        if data[8:10] == b"CR":
            return "CR2"
        if suffix in RAW_EXTENSIONS:
            return suffix.upper()
        return "DNG" if _is_dng(data) else None
    if data.startswith((b"IIRO", b"IIRS", b"MMOR")):
        return "ORF"
    if data.startswith(b"IIU\0"):
        return "RWL" if suffix == "rwl" else "RW2"
    if data[4:12] == b"ftypcrx ":
        return "CR3"
    signatures = {b"FUJIFILMCCD-RAW": "RAF", b"FOVb": "X3F", b"\0MRM": "MRW", b"II\x1a\0\0\0HEAPCCDR": "CRW"}
    return next((found for signature, found in signatures.items() if data.startswith(signature)), None)


def find_preview(data: bytes, format: str) -> Preview | None:
    """The largest JPEG that stands for the whole picture; None where there is none.

    One whose place is declared behind the end of the file comes before all others: the file is
    cut, and a thumbnail must not pass for its picture.
    """
    if format == "CR3":
        exif, declared = _canon_exif(data), []
    elif format == "RAF":
        exif, declared = Exif(), _fujifilm_previews(data)
    elif data[:2] in (b"II", b"MM") and format != "CRW" and len(data) >= 8:
        exif, declared = read_exif(data), list(_tiff_previews(Tiff(data)))
    else:
        exif, declared = Exif(), []
    cut = [place for place in declared if place[1] > len(data)]
    if cut:
        return Preview(*max(cut, key=lambda place: place[1] - place[0]), exif)
    best, side = _largest(data, declared)
    # A DNG names all its previews. What else looks like a JPEG in it may be one tile of many.
    if side < _THUMBNAIL_SIDE and not _is_dng(data):
        found, found_side = _largest(data, _scan(data))
        if found_side > side:
            best = found
    return Preview(*best, exif) if best else None


def jpeg_size(data: bytes, start: int) -> tuple[int, int] | None:
    """Width and height of the JPEG at `start`; None for anything that is not an ordinary picture.

    The sensor's own data is often lossless JPEG (SOF3), which is none.
    """
    if data[start : start + 3] != b"\xff\xd8\xff":
        return None
    position = start + 2
    for _ in range(_MAX_SEGMENTS):
        if position + 10 > len(data) or data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker in (0xC0, 0xC1, 0xC2):
            precision, height, width, components = struct.unpack_from(">BHHB", data, position + 4)
            ordinary = precision == 8 and components in (1, 3) and width and height
            return (width, height) if ordinary else None
        # Anything but tables and application data before the frame is no picture.
        if marker not in (0xC4, 0xDB, 0xDD, 0xFE) and not 0xE0 <= marker <= 0xEF:
            return None
        position += 2 + max(2, int.from_bytes(data[position + 2 : position + 4], "big"))
    return None


def _largest(data: bytes, places: list[tuple[int, int]]) -> tuple[tuple[int, int] | None, int]:
    """The place of the JPEG with the most pixels, and its longer side."""
    best, best_size = None, (0, 0)
    for place in places:
        size = jpeg_size(data, place[0]) or (0, 0)
        if size[0] * size[1] > best_size[0] * best_size[1]:
            best, best_size = place, size
    return best, max(best_size)


def _tiff_previews(tiff: Tiff) -> Iterator[tuple[int, int]]:
    for entries in tiff.directories():
        start, length = tiff.integer(entries, _JPEG_OFFSET), tiff.integer(entries, _JPEG_LENGTH)
        if start and length:
            yield start, start + length
        yield from _jpeg_strip(tiff, entries)
        for tag in _PANASONIC_PREVIEWS:
            blob = entries.get(tag)
            if blob and blob.type == 7 and blob.count > 4:
                yield blob.offset, blob.offset + blob.count


def _jpeg_strip(tiff: Tiff, entries: Directory) -> Iterator[tuple[int, int]]:
    starts, lengths = tiff.integers(entries, _STRIP_OFFSETS), tiff.integers(entries, _STRIP_LENGTHS)
    if tiff.integer(entries, _COMPRESSION) not in (6, 7) or not len(starts) == len(lengths) == 1:
        return
    # The sensor's data may have the same compression, as lossless JPEG. Where the file is cut
    # before the strip, either means that the file is cut.
    if starts[0] >= len(tiff.data) or jpeg_size(tiff.data, starts[0]):
        yield starts[0], starts[0] + lengths[0]


def _fujifilm_previews(data: bytes) -> list[tuple[int, int]]:
    if len(data) < 92:
        return []
    start, length = struct.unpack_from(">II", data, 84)
    return [(start, start + length)] if start and length else []


def _canon_exif(data: bytes) -> Exif:
    blocks: dict[bytes, bytes] = {}
    for kind, start, end in iso_boxes(data, 0, len(data)):
        if kind != b"moov":
            continue
        for inner, inner_start, inner_end in iso_boxes(data, start, min(end, len(data))):
            if inner == b"uuid" and data[inner_start : inner_start + 16] == _CANON_UUID:
                stop = min(inner_end, len(data))
                for name, first, last in iso_boxes(data, inner_start + 16, stop):
                    blocks.setdefault(name, data[first : min(last, stop)])
    image, exposure = read_exif(blocks.get(b"CMT1", b"")), read_exif(blocks.get(b"CMT2", b""))
    if exposure.taken_at is None:
        return image
    return replace(exposure, orientation=image.orientation)


def _scan(data: bytes) -> list[tuple[int, int]]:
    """Where JPEG streams seem to begin; they end where their decoder finds the end."""
    places: list[tuple[int, int]] = []
    position = data.find(b"\xff\xd8\xff")
    while position >= 0 and len(places) < _MAX_SCANNED:
        places.append((position, len(data)))
        position = data.find(b"\xff\xd8\xff", position + 3)
    return places


def _is_dng(data: bytes) -> bool:
    if data[:4] not in (b"II*\0", b"MM\0*") or len(data) < 8:
        return False
    return _DNG_VERSION in Tiff(data).first_directory()
