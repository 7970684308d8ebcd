"""Opening a photograph in each format: its size and EXIF are read, its pixels not yet."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    features,
)
from PIL.ImageFile import ImageFile

from transforms.exif import Exif, Tiff, read_exif
from transforms.file_kinds import image_format, iso_boxes
from transforms.raw import find_preview, raw_format
from transforms.records import printable

_MAX_REASON = 200
_MAX_PNG_CHUNKS = 200_000
_MAX_CLAIMED = 4  # times the file; an honest directory claims less than the file once


class UnreadablePhoto(Exception):
    """A photograph that can't be decoded; the text is the reason, such as ``truncated JPEG``."""


@dataclass(frozen=True)
class OpenedPhoto:
    """A photo of which only the header is read; `exif.orientation` is still to be applied."""

    image: ImageFile
    format: str
    exif: Exif


def open_photo(data: bytes, *, name: bytes, max_pixels: int) -> OpenedPhoto | None:
    """Opens the file `data` by its content; None where it is in none of the formats read here.

    Raises UnreadablePhoto, also where it has more than `max_pixels`.
    """
    raw = raw_format(data, name)
    format = raw or image_format(data)
    if format is None:
        return None
    try:
        opened = _open_raw(data, raw) if raw else _open_image(data, format, max_pixels)
    except UnreadablePhoto:
        raise
    except Exception as error:
        raise UnreadablePhoto(failure(format, data, error)) from error
    _check_size(opened.image.size, max_pixels)
    return opened


def _open_image(data: bytes, format: str, max_pixels: int) -> OpenedPhoto:
    # Each format is opened by its own class and never by trial: Pillow's other formats, some of
    # which run programs (EPS) or are no photographs, can't be reached from here.
    openers: dict[str, Callable[[bytes], OpenedPhoto]] = {
        "JPEG": _open_jpeg,
        "PNG": _open_png,
        "TIFF": _open_tiff,
        "HEIF": _open_heif,
        "AVIF": _open_avif,
        "GIF": lambda data: OpenedPhoto(GifImagePlugin.GifImageFile(io.BytesIO(data)), "GIF", Exif()),
        "BMP": lambda data: OpenedPhoto(BmpImagePlugin.BmpImageFile(io.BytesIO(data)), "BMP", Exif()),
    }
    if format == "WEBP":
        return _open_webp(data, max_pixels)
    return openers[format](data)


class _Jpeg(JpegImagePlugin.JpegImageFile):
    def _read_dpi_from_exif(self) -> None:
        """Left out: it reads each value that the block names, however large and however many."""


def _open_jpeg(data: bytes) -> OpenedPhoto:
    image = _Jpeg(io.BytesIO(data))
    exif = read_exif(image.info.get("exif", b""))
    # Phones keep brightness maps for HDR screens the way stereo cameras keep their second picture.
    stereo = "mp" in image.info and b"hdrgm:" not in image.info.get("xmp", b"")
    return OpenedPhoto(image, "MPO" if stereo else "JPEG", exif)


def _open_png(data: bytes) -> OpenedPhoto:
    essential, exif = _png_essentials(data)
    return OpenedPhoto(PngImagePlugin.PngImageFile(io.BytesIO(essential)), "PNG", read_exif(exif))


def _png_essentials(data: bytes) -> tuple[bytes, bytes]:
    """A PNG reduced to what its pixels need, and its EXIF block.

    Texts, profiles and animations, which can be damaged or inflate without end, stay out of the
    decoder's sight. Raises EOFError where the file is cut. Source: PNG (third edition), 5.3.
    """
    view = memoryview(data)
    kept, exif, position = [view[:8]], b"", 8
    for _ in range(_MAX_PNG_CHUNKS):
        kind = data[position + 4 : position + 8]
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if end > len(data):
            raise EOFError
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(view[position:end])
        elif kind == b"eXIf":
            exif = data[position + 8 : end - 4]
        if kind == b"IEND":
            return b"".join(kept), exif
        position = end
    raise ValueError("too many chunks")


def _open_webp(data: bytes, max_pixels: int) -> OpenedPhoto:
    # Before the decoder does, which allocates the canvas when it opens the file.
    _check_size(_webp_size(data), max_pixels)
    image = WebPImagePlugin.WebPImageFile(io.BytesIO(data))
    return OpenedPhoto(image, "WEBP", read_exif(image.info.get("exif", b"")))


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height by the header. Source: WebP container specification; RFC 6386, 9.1; RFC 9649."""
    kind, header = data[12:16], data[20:30].ljust(10, b"\0")
    if kind == b"VP8X":
        return int.from_bytes(header[4:7], "little") + 1, int.from_bytes(header[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(header[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = (int.from_bytes(header[i : i + 2], "little") & 0x3FFF for i in (6, 8))
    return width, height


def _open_tiff(data: bytes) -> OpenedPhoto:
    # Pillow copies all values of a directory: thousands that share one place would fill the memory.
    if Tiff(data).claimed_bytes() > _MAX_CLAIMED * len(data):
        raise ValueError("its directory claims more than the file holds")
    image = TiffImagePlugin.TiffImageFile(io.BytesIO(data))
    # Pillow hands TIFF out upright.
    return OpenedPhoto(image, "TIFF", replace(read_exif(data), orientation=1))


def _open_heif(data: bytes) -> OpenedPhoto:
    from pillow_heif import HeifImageFile  # brings its own libraries, which most archives don't need

    _check_boxes(data)
    image = HeifImageFile(io.BytesIO(data))
    # libheif applies the file's own rotation; beside it, the EXIF orientation is only a remark
    # (ISO/IEC 23008-12; https://github.com/strukturag/libheif/issues/227).
    return OpenedPhoto(image, "HEIF", replace(read_exif(image.info.get("exif") or b""), orientation=1))


def _open_avif(data: bytes) -> OpenedPhoto:
    if not features.check("avif"):
        raise UnreadablePhoto("AVIF is not supported by this version of Pillow: install 11.3 or later")
    from PIL import AvifImagePlugin

    _check_boxes(data)
    try:
        image = AvifImagePlugin.AvifImageFile(io.BytesIO(data))
    except (SyntaxError, ValueError):
        # Pillow and libavif give up on a photo for its EXIF block: try without, by renaming it.
        image = AvifImagePlugin.AvifImageFile(io.BytesIO(data.replace(b"Exif", b"free", 1)))
    # Pillow leaves the pixels as they lie, and puts the file's own rotation into the EXIF block.
    return OpenedPhoto(image, "AVIF", read_exif(image.info.get("exif", b"")))


def _check_boxes(data: bytes) -> None:
    # Decoders fill what is missing at the end with grey: a file that is cut must not get so far.
    # Whatever else comes behind may be no box at all.
    picture = (b"ftyp", b"meta", b"mdat", b"moov")
    if any(kind in picture and end > len(data) for kind, _, end in iso_boxes(data, 0, len(data))):
        raise EOFError


def _open_raw(data: bytes, format: str) -> OpenedPhoto:
    preview = find_preview(data, format)
    if preview is None:
        raise UnreadablePhoto(f"{format} without a JPEG preview: convert it to JPEG or DNG")
    if preview.end > len(data):
        raise EOFError
    opened = _open_jpeg(data[preview.start : preview.end])
    own, raw = opened.exif, preview.exif
    orientation = own.orientation if own.orientation != 1 else raw.orientation
    time = raw if raw.taken_at is not None else own
    return OpenedPhoto(opened.image, format, Exif(orientation, time.taken_at, time.utc_offset))


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        limit = f"{max_pixels / 1e6:g} megapixels (--max-pixels)"
        raise UnreadablePhoto(f"{width:,} x {height:,} pixels exceed the limit of {limit}")


def failure(format: str, data: bytes, error: Exception) -> str:
    """Why a photo can't be decoded, in one printable line, from what its decoder said."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return f"not enough memory to decode this {format}"
    if isinstance(error, EOFError) or "truncated" in text.lower() or _is_cut(data, format):
        return f"truncated {format}"
    text = printable((text or type(error).__name__).encode("utf-8", "backslashreplace"))
    return f"damaged {format}: {text}"[:_MAX_REASON]


def _is_cut(data: bytes, format: str) -> bool:
    """Whether a file that can't be decoded is shorter than it says."""
    if format in ("HEIF", "AVIF"):
        return not any(kind == b"mdat" for kind, _, _ in iso_boxes(data, 0, len(data)))
    if format == "WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if format == "TIFF":
        return len(data) < 8 or Tiff(data).is_cut()
    return False
