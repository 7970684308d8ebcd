"""Damaged and hostile files for tests, made from a few good photographs: the same ones for each seed."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Iterator

from tests.people_archive import portrait
from tests.photo_files import (
    EXIF_POINTER,
    FORMATS,
    ORIENTATION,
    canon_raw,
    encode,
    exif_block,
    fujifilm_raw,
    jpeg,
    picture,
    png_chunk,
    sample,
    tiff_raw,
)

SUFFIXES = {
    "JPEG": "jpg", "MPO": "mpo", "PNG": "png", "WEBP": "webp", "TIFF": "tif", "GIF": "gif",
    "BMP": "bmp", "HEIF": "heic", "AVIF": "avif",
}  # fmt: skip
_OTHER_SUFFIXES = ("jpg", "png", "heic", "nef", "dng", "cr3", "raf", "tif", "gif", "unknown", "JPG", "")
_SIDES = ((65535, 65535), (5400, 5400), (1, 65535), (16000, 1), (1, 1), (0, 0))
_NARROW = ((1, 1), (1, 20000), (20000, 1), (2, 3), (3000, 7))
# The shortest and the longest side that their encoders take.
_SIDE_LIMITS = {"WEBP": (1, 16383), "AVIF": (1, 4000), "HEIF": (64, 512)}


def good_photos() -> dict[str, bytes]:
    """What the damaged files are made from: a file of each format by its name, RAW files included."""
    photos = {f"good.{SUFFIXES[format]}": sample(format) for format in FORMATS}
    preview = jpeg(exif=exif_block(orientation=6).tobytes())
    return photos | {
        "portrait.jpg": portrait("hopper"),
        "good.nef": tiff_raw(preview),
        "good.arw": tiff_raw(preview, place="strip"),
        "good.rw2": tiff_raw(preview, magic=b"IIU\0", place="blob"),
        "good.raf": fujifilm_raw(preview),
        "good.cr3": canon_raw(preview, thumbnail=preview),
    }


def damaged_photos(count: int, *, seed: int) -> dict[str, bytes]:
    """`count` files by name, no two alike: each hostile one once, the rest damaged at random."""
    good, chance = good_photos(), random.Random(seed)
    files = {f"{number:04d}-{name}": data for number, (name, data) in enumerate(_hostile(good))}
    while len(files) < count:
        name, data = chance.choice(list(good.items()))
        kind = chance.choice((_cut, _flipped, _flipped_header, _with_a_hole, _shuffled, _renamed))
        name, data = kind(name, data, chance)
        files[f"{len(files):04d}-{name}"] = data
    return dict(list(files.items())[:count])


# -- at random -----------------------------------------------------------------------------------


def _cut(name: str, data: bytes, chance: random.Random) -> tuple[str, bytes]:
    return f"cut-{name}", data[: chance.randrange(len(data))]


def _flipped(name: str, data: bytes, chance: random.Random) -> tuple[str, bytes]:
    return f"flipped-{name}", _flip(data, len(data), chance)


def _flipped_header(name: str, data: bytes, chance: random.Random) -> tuple[str, bytes]:
    return f"header-{name}", _flip(data, 300, chance)


def _flip(data: bytes, within: int, chance: random.Random) -> bytes:
    file = bytearray(data)
    for _ in range(chance.randint(1, 12)):
        file[chance.randrange(min(within, len(file)))] ^= 1 << chance.randrange(8)
    return bytes(file)


def _with_a_hole(name: str, data: bytes, chance: random.Random) -> tuple[str, bytes]:
    first, last = sorted(chance.choices(range(len(data)), k=2))
    hole = chance.choice((b"", b"\0" * (last - first), chance.randbytes(last - first)))
    return f"hole-{name}", data[:first] + hole + data[last:]


def _shuffled(name: str, data: bytes, chance: random.Random) -> tuple[str, bytes]:
    first, last = sorted(chance.choices(range(len(data)), k=2))
    return f"shuffled-{name}", data[:last] + data[first:]


def _renamed(name: str, data: bytes, chance: random.Random) -> tuple[str, bytes]:
    stem, suffix = name.rsplit(".", 1)
    return f"renamed-{suffix}-{stem}.{chance.choice(_OTHER_SUFFIXES)}", _flip(data, len(data), chance)


# -- on purpose ----------------------------------------------------------------------------------


def _hostile(good: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    yield "empty.jpg", b""
    yield "zeros.jpg", b"\0" * 5000
    yield "page.jpg", b"<!DOCTYPE html><title>404</title>"
    yield "letters.cr2", b"II*\0" + b"A" * 3000
    for format in FORMATS:
        suffix = SUFFIXES[format]
        for width, height in _NARROW:
            least, most = _SIDE_LIMITS.get(format, (1, 20000))
            small = picture(*(min(max(side, least), most) for side in (width, height)))
            yield f"{width}x{height}.{suffix}", encode(format, small)
        for width, height in _SIDES:
            declared = _DECLARE[format](good[f"good.{suffix}"], width, height)
            yield f"declares-{width}x{height}.{suffix}", declared
    for number, block in enumerate(hostile_exif()):
        yield f"exif-{number}.jpg", _jpeg_with_exif(block)
        yield f"exif-{number}.png", png_with_exif(block)
        yield f"exif-{number}.webp", _webp_with_exif(block)
        yield f"exif-{number}.tif", block
        yield f"exif-{number}.nef", block
    yield "endless-exif.png", png_with_exif(b"Exif\0\0" * 500_000)
    yield "greedy.tif", greedy_tiff(entries=1500, size=1_000_000)
    yield "many-previews.nef", b"II*\0\x08\0\0\0\0\0" + b"\xff\xd8\xff\xe0\0\x04\0\0" * 20_000
    yield "many-boxes.heic", good["good.heic"][:32] + struct.pack(">I4s", 8, b"free") * 50_000


def hostile_exif() -> list[bytes]:
    """EXIF blocks that lie: about where their directories are, how many entries they have, how long
    their values are."""
    head = b"II*\0\x08\0\0\0"

    def entry(tag: int, kind: int, count: int, value: int) -> bytes:
        return struct.pack("<HHII", tag, kind, count, value)

    def block(*entries: bytes, following: int = 0, count: int | None = None) -> bytes:
        number = len(entries) if count is None else count
        return head + struct.pack("<H", number) + b"".join(entries) + struct.pack("<I", following)

    chain = b"".join(
        struct.pack("<H", 1) + entry(0x0131, 4, 1, 0) + struct.pack("<I", 8 + 18 * (i + 1))
        for i in range(2000)
    )
    return [
        b"",
        b"II",
        head,
        b"II*\0" + struct.pack("<I", 0xFFFFFFFF),
        b"MM\0*\0\0\0\x08\xff\xff",
        block(following=8),  # a directory that is followed by itself
        block(entry(EXIF_POINTER, 4, 1, 8), following=8),
        block(entry(0x014A, 4, 1, 8), entry(EXIF_POINTER, 4, 1, 8)),
        block(entry(0x014A, 4, 0xFFFFFFFF, 8)),
        block(entry(ORIENTATION, 3, 0xFFFFFFFF, 8)),
        block(entry(ORIENTATION, 4, 1, 0xFFFFFFFF)),
        block(entry(ORIENTATION, 3, 1, 0xFFFF)),
        block(entry(0x9003, 2, 0xFFFFFFFF, 0xFFFFFFF0)),
        block(entry(0x9003, 2, 20, 0x7FFFFFFF)),
        block(entry(ORIENTATION, 99, 7, 3)),
        block(entry(ORIENTATION, 3, 1, 6), count=0xFFFF),
        block(entry(0x0111, 4, 0x3FFFFFFF, 8), entry(0x0117, 4, 0x3FFFFFFF, 8)),
        head + chain,
        b"Exif\0\0" * 9000,
        block(entry(0x9003, 2, 20, 26)) + b"9999:99:99 99:99:99\0",
    ]


def greedy_tiff(*, entries: int, size: int) -> bytes:
    """A picture in whose directory very many entries claim the whole file as their value."""
    honest = sample("TIFF")
    (first,) = struct.unpack_from("<I", honest, 4)
    (count,) = struct.unpack_from("<H", honest, first)
    rows = honest[first + 2 : first + 2 + 12 * count]
    rows += b"".join(struct.pack("<HHII", 0xC000 + i, 1, size, 8) for i in range(entries))
    directory = struct.pack("<H", count + entries) + rows + b"\0\0\0\0"
    file = honest[:4] + struct.pack("<I", len(honest)) + honest[8:] + directory
    return file.ljust(size + 8, b"\0")


def _jpeg_with_exif(block: bytes) -> bytes:
    segment = b"Exif\0\0" + block[:65000]
    plain = jpeg()
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + plain[2:]


def png_with_exif(block: bytes) -> bytes:
    plain = encode("PNG")
    return plain[:33] + png_chunk(b"eXIf", block) + plain[33:]


def _webp_with_exif(block: bytes) -> bytes:
    plain = encode("WEBP")
    extended = struct.pack("<B3x", 0x08) + (95).to_bytes(3, "little") + (63).to_bytes(3, "little")
    chunks = _riff(b"VP8X", extended) + plain[12:] + _riff(b"EXIF", block)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def _riff(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


# -- other dimensions than the picture has -------------------------------------------------------


def _declare_jpeg(data: bytes, width: int, height: int) -> bytes:
    frame = data.index(b"\xff\xc0")
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]


def _declare_png(data: bytes, width: int, height: int) -> bytes:
    header = struct.pack(">II", width, height) + data[24:29]
    return data[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + data[33:]


def _declare_gif(data: bytes, width: int, height: int) -> bytes:
    size, image = struct.pack("<HH", width, height), data.index(b"\x2c\0\0\0\0")
    return data[:6] + size + data[10 : image + 5] + size + data[image + 9 :]


def _declare_bmp(data: bytes, width: int, height: int) -> bytes:
    return data[:18] + struct.pack("<ii", width, height) + data[26:]


def _declare_webp(data: bytes, width: int, height: int) -> bytes:
    canvas = struct.pack("<I", max(width - 1, 0))[:3] + struct.pack("<I", max(height - 1, 0))[:3]
    if data[12:16] == b"VP8X":
        data = data[:24] + canvas + data[30:]
    frame = data.index(b"\x9d\x01\x2a")
    return data[: frame + 3] + struct.pack("<HH", width & 0x3FFF, height & 0x3FFF) + data[frame + 7 :]


def _declare_tiff(data: bytes, width: int, height: int) -> bytes:
    file, (first,) = bytearray(data), struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    for at in range(first + 2, first + 2 + 12 * count, 12):
        (tag,) = struct.unpack_from("<H", data, at)
        if tag in (0x0100, 0x0101):
            struct.pack_into("<HII", file, at + 2, 4, 1, width if tag == 0x0100 else height)
    return bytes(file)


def _declare_boxes(data: bytes, width: int, height: int) -> bytes:
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">II", width, height) + data[at + 8 :]


_DECLARE: dict[str, Callable[[bytes, int, int], bytes]] = {
    "JPEG": _declare_jpeg, "MPO": _declare_jpeg, "PNG": _declare_png, "GIF": _declare_gif,
    "BMP": _declare_bmp, "WEBP": _declare_webp, "TIFF": _declare_tiff, "HEIF": _declare_boxes,
    "AVIF": _declare_boxes,
}  # fmt: skip
