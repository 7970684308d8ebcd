"""What a file is: by its name, before it is read, and by its first bytes.

A file whose name says video or sidecar is skipped unread. For all others the content decides: a
PNG called ``.jpg`` is a PNG, a video called ``.jpg`` is a video.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator

APPLE_DOUBLE = "AppleDouble sidecar"

_KINDS = {
    "video": """3g2 3gp asf avi braw crm divx dv f4v flv insv lrv m2t m2ts m2v m4v mjpeg mkv mod mov mp4
        mpe mpeg mpg mts mxf ogv r3d rm rmvb tod ts vob webm wmv""",
    "audio": "aac aif aiff amr ape caf flac m4a m4b mid mp3 oga ogg opus wav wma",
    "sidecar": """aae cos cpi cop db db-shm db-wal dop ini ithmb json lnk lrcat lrdata modd moff on1
        pek plist pp3 sqlite thm url vrd xmp yaml yml""",
    "archive": "7z bz2 dmg gz iso jar rar tar tgz xz zip zst",
    "document": """csv doc docx epub htm html log md numbers odp ods odt pages pdf ppt pptx rtf tex txt xls
        xlsx xml""",
    "drawing": "ai cdr dwg dxf emf eps ico icns indd ps svg svgz wmf xcf",
    "layered document": "afphoto kra psb psd pxd",
    "program": "apk app bat css dll dylib exe js py pyc sh so",
}
_KIND_OF_EXTENSION = {suffix: kind for kind, suffixes in _KINDS.items() for suffix in suffixes.split()}
_KIND_OF_NAME = {b".ds_store": "sidecar (.DS_Store)", b".nomedia": "sidecar (.nomedia)"}

_RAW = """3fr arw cr2 cr3 crw dcr dng erf fff gpr iiq k25 kdc mef mos mrw nef nrw orf ori pef raf raw rw2
    rwl sr2 srf srw x3f"""
_IMAGES = """apng avif avifs bmp dib gif heic heics heif heifs hif j2k jfif jp2 jpe jpeg jpf jpg jpx jxl mpo
    png tif tiff webp"""
# Formats whose previews are read (`transforms.raw`), by extension.
RAW_EXTENSIONS = frozenset(_RAW.split())
# Extensions that claim a photograph: other content under such a name is an error, not skipped.
_IMAGE_EXTENSIONS = RAW_EXTENSIONS | frozenset(_IMAGES.split())

_HEIF_BRANDS = frozenset(b"heic heix heim heis hevc hevx hevm hevs mif1 mif2 msf1 miaf".split())
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
_SIGNATURES = (
    ("JPEG", re.compile(rb"\xff\xd8\xff")),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("GIF", re.compile(rb"GIF8[79]a")),
    ("WEBP", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]")),
    ("BMP", re.compile(rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL)),
)
# Photographs that nothing here decodes.
_UNSUPPORTED = (
    ("JPEG XL", re.compile(rb"\xff\x0a|\0\0\0\x0cJXL ")),
    ("JPEG 2000", re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51")),
)
_FOREIGN = (
    (APPLE_DOUBLE, re.compile(rb"\0\x05\x16\x07")),
    ("video (AVI)", re.compile(rb"RIFF....AVI ", re.DOTALL)),
    ("audio (WAV)", re.compile(rb"RIFF....WAVE", re.DOTALL)),
    ("video (QuickTime)", re.compile(rb"....(moov|mdat|wide|pnot|skip)", re.DOTALL)),
    ("video (Matroska)", re.compile(rb"\x1a\x45\xdf\xa3")),
    ("video (MPEG)", re.compile(rb"\0\0\x01[\xba\xb3]|\x47.{187}\x47.{187}\x47", re.DOTALL)),
    ("video (MPEG)", re.compile(rb".{4}\x47.{191}\x47.{191}\x47", re.DOTALL)),
    ("video (Windows Media)", re.compile(rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11")),
    ("video (Flash)", re.compile(rb"FLV\x01")),
    ("layered document (PSD)", re.compile(rb"8BPS")),
)


def extension(name: bytes) -> str:
    """The extension of a path in lower case, without its dot; "" for none."""
    suffix = os.path.splitext(name.rsplit(b"/", 1)[-1])[1]
    return suffix[1:].lower().decode("ascii", "backslashreplace")


def kind_by_name(path: bytes) -> str | None:
    """Why a file can be skipped unread, such as ``video (MP4)``; None: its content has to decide.

    >>> kind_by_name(b"2019/IMG_0001.MOV")
    'video (MOV)'
    """
    base = path.rsplit(b"/", 1)[-1].lower()
    if base.startswith(b"._"):
        return APPLE_DOUBLE
    suffix = extension(base)
    kind = _KIND_OF_EXTENSION.get(suffix)
    return f"{kind} ({suffix.upper()})" if kind else _KIND_OF_NAME.get(base)


def claims_image(name: bytes) -> bool:
    """Whether the extension is one of a photograph's."""
    return extension(name) in _IMAGE_EXTENSIONS


def image_format(data: bytes) -> str | None:
    """The format of a photograph, by its first bytes: one of those that can be decoded, or None.

    JPEG, PNG, GIF, WEBP, TIFF, BMP, HEIF, AVIF. RAW files are for `transforms.raw.raw_format`.
    """
    if data[4:8] == b"ftyp":
        brands = _brands(data)
        if brands[0] in _AVIF_BRANDS or (brands[0] in _HEIF_BRANDS and _AVIF_BRANDS.intersection(brands)):
            return "AVIF"
        return "HEIF" if _HEIF_BRANDS.intersection(brands) else None
    return _first_match(_SIGNATURES, data)


def unsupported_format(data: bytes) -> str | None:
    """The name of a format that holds photographs but that is not decoded here."""
    return _first_match(_UNSUPPORTED, data)


def foreign_kind(data: bytes) -> str | None:
    """What a file that is no photograph is, by its first bytes: ``video (MP4)``; None: unknown."""
    if data[4:8] == b"ftyp":
        brand = data[8:12].strip().lower()
        if brand.startswith(b"m4a"):
            return "audio (M4A)"
        return {b"qt": "video (QuickTime)", b"3g": "video (3GP)"}.get(brand[:2], "video (MP4)")
    return _first_match(_FOREIGN, data)


def iso_boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes of an ISO base media file between two offsets: (type, start and end of content).

    At most 1,000. The end is as declared, and may lie behind `end` where the file is cut.
    Source: ISO/IEC 14496-12, 4.2.
    """
    for _ in range(1_000):
        if start + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        content = start + 8
        if size == 1 and start + 16 <= end:
            (size,) = struct.unpack_from(">Q", data, content)
            content = start + 16
        elif size == 0:
            size = end - start
        if start + size < content:
            return
        yield kind, content, start + size
        start += size


def _brands(data: bytes) -> list[bytes]:
    size = min(int.from_bytes(data[:4], "big"), 256)
    return [data[8:12], *(data[i : i + 4] for i in range(16, size - 3, 4))]


def _first_match(patterns: tuple[tuple[str, re.Pattern[bytes]], ...], data: bytes) -> str | None:
    return next((name for name, pattern in patterns if pattern.match(data)), None)
