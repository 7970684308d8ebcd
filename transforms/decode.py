"""From the bytes of a file to upright RGB pixels, and what its header says of it.

Everything here is a pure function of bytes, safe to call from several threads, and ends in one of
three ways: a photo, `NotAPhoto` (a file of another kind) or `UnreadablePhoto`, both with a reason
that fits into one line. No other exception leaves this module, whatever the bytes.

Embedded colour profiles are not applied: LittleCMS needs 1 s for 12 megapixels, five times what
decoding them costs, and cameras' and phones' wide profiles shift skin tones only a little.
"""

from __future__ import annotations

import ctypes
import logging
import warnings
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import simplejpeg
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from transforms.file_kinds import (
    claims_image,
    extension,
    foreign_kind,
    kind_by_name,
    unsupported_format,
)
from transforms.photo_formats import OpenedPhoto, UnreadablePhoto, failure, open_photo
from transforms.records import printable
from transforms.upright import upright

__all__ = [
    "NotAPhoto",
    "Photo",
    "PhotoInfo",
    "UnreadablePhoto",
    "kind_by_name",
    "prepare_pillow",
    "read_info",
    "read_photo",
]

_DCT_SCALES = (8, 4, 2)  # what libjpeg's scaled decoding offers through Pillow


class NotAPhoto(Exception):
    """The file is of another kind, and skipped; the text is the reason, such as ``video (MP4)``."""


@dataclass(frozen=True)
class PhotoInfo:
    """What the header says: upright size in full pixels (of a RAW file: its preview's), format,
    the camera's local wall-clock time, and its minutes east of UTC where it recorded them."""

    width: int
    height: int
    format: str
    taken_at: datetime | None
    utc_offset: int | None


@dataclass(frozen=True)
class Photo:
    """Upright pixels, uint8[height, width, 3] in RGB, contiguous and read-only; maybe reduced."""

    pixels: np.ndarray
    info: PhotoInfo

    @property
    def scale(self) -> float:
        """Length in `pixels` of one pixel of the full photo, at most 1; taken from the longer
        side, because the shorter one of a narrow strip says nothing once it is rounded."""
        return max(self.pixels.shape[:2]) / max(self.info.width, self.info.height)


def prepare_pillow() -> None:
    """Sets Pillow up for this process, once and before threads read photos.

    Pillow's and libtiff's warnings about odd files are silenced, as all that matters comes back as
    a reason; Pillow's fixed limit of pixels is lifted, as every size is checked against
    `max_pixels` here; and the AVIF and HEIF decoders use one thread each, as the threads are the
    caller's to spend.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    _silence_libtiff()
    Image.MAX_IMAGE_PIXELS = None
    try:
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    except ImportError:
        pass  # an older Pillow; _open_avif says what to do
    import pillow_heif

    pillow_heif.options.DECODE_THREADS = 1


def _silence_libtiff() -> None:
    # libtiff writes to stderr, and Pillow offers no way to stop it. Looked up through Pillow's own
    # extension, its function is the one of the libtiff that Pillow uses, wherever that lies.
    try:
        library = ctypes.CDLL(Image.core.__file__)
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            handler = library[name]
            handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            handler(None)
    except (AttributeError, OSError):
        pass  # a Pillow with libtiff built in, or without it: noisy at worst


def read_info(data: bytes, *, name: bytes, max_pixels: int) -> PhotoInfo:
    """What the header of the file `data` says; pixels are not decoded, so they may be damaged.

    `name` is the path or name of the file: it decides between RAW formats, and whether foreign
    content is an error (``holiday.jpg``) or skipped (``notes``).
    Raises NotAPhoto, and UnreadablePhoto also above `max_pixels` (width times height).
    """
    return _info(_open(data, name=name, max_pixels=max_pixels))


def read_photo(
    data: bytes, *, name: bytes, max_pixels: int, long_side: int | None = None, alone: bool = True
) -> Photo:
    """Decodes the file `data`: the first frame of several, in the right orientation, on white.

    With `long_side`, at least 1 pixel, the photo comes reduced by a whole number as far as its longer
    side stays at least that long: JPEG by 2, 4 or 8 while decoding, which saves most of the time,
    others (and JPEG beyond 8) by averaging afterwards: these are in memory in full first, whatever side
    is asked for, and only `max_pixels` bounds them. Photos are never enlarged.
    `alone` says that no other thread of this process waits to decode at the same time: then JPEG goes
    through a decoder that is twice as fast as Pillow's, with the same pixels, but keeps the
    interpreter's lock.
    `name` and errors are those of `read_info`.
    """
    opened = _open(data, name=name, max_pixels=max_pixels)
    info = _info(opened)
    try:
        pixels = _decode(opened, long_side, alone)
    except Exception as error:
        raise UnreadablePhoto(failure(opened.format, data, error)) from error
    pixels.setflags(write=False)
    return Photo(pixels, info)


def _open(data: bytes, *, name: bytes, max_pixels: int) -> OpenedPhoto:
    opened = open_photo(data, name=name, max_pixels=max_pixels)
    if opened is None:
        raise _rejection(data, name)
    return opened


def _rejection(data: bytes, name: bytes) -> Exception:
    """The error for bytes that are none of the formats read here."""
    kind = foreign_kind(data)
    if kind:
        return NotAPhoto(kind)
    unsupported = unsupported_format(data)
    if unsupported:
        return UnreadablePhoto(f"{unsupported} is not supported: convert it to JPEG")
    if not claims_image(name):
        suffix = extension(name)
        return NotAPhoto(f"not a photograph ({'.' + suffix if suffix else 'no extension'})"[:200])
    if not data:
        return UnreadablePhoto("empty file")
    if not data.strip(b"\0"):
        return UnreadablePhoto("not an image: holds nothing but zero bytes")
    return UnreadablePhoto(f"not an image: begins with '{printable(data[:16])}'")


def _info(opened: OpenedPhoto) -> PhotoInfo:
    # To be asked before decoding, which may change the size of the image.
    width, height = opened.image.size
    if opened.exif.orientation >= 5:
        width, height = height, width
    return PhotoInfo(width, height, opened.format, opened.exif.taken_at, opened.exif.utc_offset)


def _decode(opened: OpenedPhoto, long_side: int | None, alone: bool) -> np.ndarray:
    image: Image.Image = opened.image
    if isinstance(opened.image, JpegImageFile):
        scale = _dct_scale(image.size, long_side)
        pixels = _fast_jpeg(opened.image, scale) if alone else None
        if pixels is not None:
            if long_side is not None and max(pixels.shape) // long_side > 1:
                pixels = np.asarray(Image.fromarray(pixels).reduce(max(pixels.shape) // long_side))
            return upright(pixels, opened.exif.orientation)
        if scale > 1:
            opened.image.draft(None, (image.width // scale, image.height // scale))
    image.load()
    if image.mode not in ("RGB", "L", "RGBA", "CMYK") or "transparency" in image.info:
        image = _plain(image)
    factor = max(image.size) // long_side if long_side is not None else 1
    if factor > 1:
        image = image.reduce(factor)
    if image.mode == "RGBA":
        image = _on_white(image)
    elif image.mode != "RGB":
        image = image.convert("RGB")
    return upright(np.asarray(image), opened.exif.orientation)


def _dct_scale(size: tuple[int, int], long_side: int | None) -> int:
    """Libjpeg decodes at 1/8, 1/4 or 1/2: whatever leaves the longer side long enough, else 1."""
    if long_side is not None:
        for scale in _DCT_SCALES:
            if -(-max(size) // scale) >= long_side and min(size) >= scale:
                return scale
    return 1


def _fast_jpeg(image: JpegImageFile, scale: int) -> np.ndarray | None:
    """The pixels by libjpeg-turbo straight into an array; None for what only Pillow reads, such as
    CMYK and files with small damage."""
    if image.mode not in ("RGB", "L"):
        return None
    width, height = image.size
    data = image.fp.getvalue()  # type: ignore[union-attr]  # opened from bytes
    try:
        return simplejpeg.decode_jpeg(data, min_width=-(-width // scale), min_height=-(-height // scale))
    except ValueError:
        return None


def _plain(image: Image.Image) -> Image.Image:
    """Palettes, deep and rare modes as RGB, RGBA or L with 8 bits."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        return Image.fromarray(_to_8_bits(np.asarray(image)))
    has_alpha = "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBa")
    return image.convert("RGBA" if has_alpha else "RGB")


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """Grey values without a declared range as uint8: white is 1, 255, 65,535 or the maximum,
    the first that no value exceeds (1 only for floats). What is no number is black."""
    scales = (1.0, 255.0, 65535.0) if values.dtype.kind == "f" else (255.0, 65535.0)
    values = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    highest = float(values.max())
    white = next((scale for scale in scales if highest <= scale), highest)
    return np.clip(values * (255 / white), 0, 255).astype(np.uint8)


def _on_white(image: Image.Image) -> Image.Image:
    page = Image.new("RGB", image.size, "white")
    page.paste(image, mask=image)
    return page
