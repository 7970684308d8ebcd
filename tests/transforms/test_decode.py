from __future__ import annotations

import contextlib
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tests.photo_files import FORMATS, STORED, box, encode, exif_block, jpeg, picture, png_chunk, sample
from transforms.decode import NotAPhoto, Photo, UnreadablePhoto, prepare_pillow, read_info, read_photo

# A process is set up to ignore Pillow's warnings by prepare_pillow, a test by this.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

LIMIT = 10_000_000
UPRIGHT = np.asarray(picture()).astype(int)


def decode(data: bytes, *, name: bytes = b"a.jpg", long_side: int | None = None) -> Photo:
    return read_photo(data, name=name, max_pixels=LIMIT, long_side=long_side)


def reason(data: bytes, *, name: bytes = b"a.jpg", max_pixels: int = LIMIT) -> str:
    with pytest.raises(UnreadablePhoto) as caught:
        read_photo(data, name=name, max_pixels=max_pixels)
    return str(caught.value)


def difference(photo: Photo, expected: np.ndarray) -> float:
    assert photo.pixels.shape == expected.shape
    return float(np.abs(photo.pixels - expected.astype(int)).mean())


def deep_png(values: np.ndarray, *, color_type: int) -> bytes:
    """A PNG of 16-bit samples, uint16[h, w, channels]."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


# -- formats -----------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_decoded_whatever_its_name(format):
    photo = decode(sample(format), name=b"misnamed.jpg")
    assert photo.info.format == format
    assert (photo.info.width, photo.info.height) == (96, 64)
    assert photo.pixels.dtype == np.uint8
    assert photo.pixels.flags.c_contiguous
    assert difference(photo, UPRIGHT) < 8
    assert photo.scale == 1


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_upright(format, orientation):
    stored = picture().transpose(STORED[orientation]) if orientation > 1 else picture()
    exif = exif_block(orientation=orientation)
    data = encode(format, stored, exif=exif if format == "TIFF" else exif.tobytes())
    photo = decode(data)
    assert difference(photo, UPRIGHT) < 5
    assert photo.info == read_info(data, name=b"a.jpg", max_pixels=LIMIT)
    assert photo.info.taken_at == datetime(2019, 7, 14, 18, 32, 5)


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}])
def test_kinds_of_jpeg(options):
    assert difference(decode(jpeg(**options)), UPRIGHT) < 4


def test_grey_jpeg():
    grey = picture().convert("L")
    expected = np.repeat(np.asarray(grey)[:, :, None], 3, axis=2)
    assert difference(decode(encode("JPEG", grey)), expected) < 4


def test_cmyk_colours():
    photo = decode(encode("JPEG", picture().convert("CMYK"), quality=95))
    assert difference(photo, UPRIGHT) < 8


def test_a_tiff_in_cmyk():
    assert difference(decode(encode("TIFF", picture().convert("CMYK"))), UPRIGHT) < 2


def test_ycck_jpeg():
    # Adobe's kind: inverted ink, here without black, whose first three channels are stored as the
    # Y, Cb and Cr of the opposite colours. Pillow inverts once more when writing.
    opposite = ImageOps.invert(picture()).convert("YCbCr")
    stored = [ImageOps.invert(band) for band in opposite.split()] + [Image.new("L", opposite.size, 0)]
    data = encode("JPEG", Image.merge("CMYK", stored), quality=95)
    at = data.index(b"Adobe") + 11
    assert difference(decode(data[:at] + b"\2" + data[at + 1 :]), UPRIGHT) < 5


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_brightness(format):
    values = np.linspace(0, 65535, 96 * 64).reshape(64, 96).astype(np.uint16)
    data = encode(format, Image.fromarray(values))
    expected = np.repeat((values >> 8)[:, :, None], 3, axis=2)
    assert difference(decode(data), expected) < 1


@pytest.mark.parametrize(("color_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bit_png_keeps_its_brightness(color_type, channels):
    values = np.zeros((8, 10, channels), np.uint16)
    values[:, :5], values[:, 5:] = 0x4000, 0xC000
    if color_type in (4, 6):
        values[:, :, -1] = 0xFFFF
    pixels = decode(deep_png(values, color_type=color_type)).pixels
    assert np.abs(pixels[:, :5].astype(int) - 0x40).max() <= 1
    assert np.abs(pixels[:, 5:].astype(int) - 0xC0).max() <= 1


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0])
def test_a_tiff_of_floats_is_scaled_by_its_range(white):
    values = np.linspace(0, white, 96 * 64).reshape(64, 96).astype(np.float32)
    values[0, 0] = np.nan
    pixels = decode(encode("TIFF", Image.fromarray(values))).pixels
    assert pixels[0, 0, 0] == 0
    assert pixels[-1, -1, 0] == 255
    assert abs(int(pixels[32, 0, 0]) - 127) <= 1


def test_a_black_float_tiff_is_black():
    assert decode(encode("TIFF", Image.new("F", (8, 8)))).pixels.max() == 0


@pytest.mark.parametrize("format", ["PNG", "GIF", "TIFF", "WEBP", "HEIF", "AVIF"])
def test_transparency_is_put_on_white(format):
    image = picture().convert("RGBA")
    image.paste((200, 0, 0, 0), (0, 0, 48, 64))
    data = encode(format, image, **({"lossless": True} if format == "WEBP" else {}))
    pixels = decode(data).pixels
    assert pixels[:, :40].min() > 245
    assert np.abs(pixels[:, 56:] - UPRIGHT[:, 56:]).mean() < 10


@pytest.mark.parametrize("mode", ["P", "1", "L", "LA", "RGBA"])
def test_modes_of_png(mode):
    image = picture().convert(mode)
    expected = np.asarray(image.convert("RGB"))
    assert difference(decode(encode("PNG", image)), expected) == 0


def test_a_palette_with_transparent_colours_is_put_on_white():
    image = picture().quantize(16)
    data = encode("PNG", image, transparency=bytes([0] * 16))
    assert decode(data).pixels.min() == 255


def test_a_transparent_colour_is_put_on_white():
    image = Image.new("RGB", (4, 4), (10, 20, 30))
    assert decode(encode("PNG", image, transparency=(10, 20, 30))).pixels.min() == 255
    assert decode(encode("PNG", Image.new("L", (4, 4), 9), transparency=9)).pixels.min() == 255


@pytest.mark.parametrize("format", ["GIF", "TIFF", "WEBP", "PNG", "AVIF"])
def test_the_first_frame_counts(format):
    later = [Image.new("RGB", (96, 64), color) for color in ("black", "red")]
    data = encode(format, save_all=True, append_images=later)
    assert difference(decode(data), UPRIGHT) < 8


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"])
def test_compressed_tiff(compression):
    assert difference(decode(encode("TIFF", compression=compression)), UPRIGHT) < 4


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (7, 5000)])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
@pytest.mark.parametrize("long_side", [None, 100])
def test_extreme_sizes(size, format, long_side):
    photo = decode(encode(format, picture(*size)), long_side=long_side)
    assert (photo.info.width, photo.info.height) == size
    assert max(photo.pixels.shape[:2]) >= min(100, max(size))
    assert min(photo.pixels.shape[:2]) >= 1
    assert 0 < photo.scale <= 1


# -- reduction -----------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
@settings(deadline=None, max_examples=40)
@given(
    width=st.integers(1, 400),
    height=st.integers(1, 400),
    long_side=st.integers(1, 500),
    orientation=st.sampled_from([1, 6]),
)
def test_reduction_keeps_the_longer_side_long_enough(format, width, height, long_side, orientation):
    block = exif_block(orientation=orientation).tobytes()
    photo = decode(encode(format, picture(width, height), exif=block), long_side=long_side)
    reduced, full = max(photo.pixels.shape[:2]), max(width, height)
    assert min(long_side, full) <= reduced <= full
    # Not more than JPEG's steps of two force upon it.
    assert reduced <= max(2 * long_side, long_side + 1) or reduced == full
    upright = (height, width) if orientation == 6 else (width, height)
    assert (photo.info.width, photo.info.height) == upright
    assert photo.scale == pytest.approx(reduced / full)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "HEIF"])
def test_a_reduced_photo_shows_the_same(format):
    data = encode(format, picture(480, 320))
    photo = decode(data, long_side=96)
    expected = np.asarray(picture(480, 320).resize(photo.pixels.shape[1::-1], Image.Resampling.BOX))
    assert photo.pixels.shape[1] < 240
    assert difference(photo, expected) < 5


def test_photos_are_never_enlarged():
    assert decode(jpeg(), long_side=5_000).pixels.shape == (64, 96, 3)


# -- errors --------------------------------------------------------------------------------------


def test_an_empty_file():
    assert reason(b"") == "empty file"


def test_zeros_left_by_a_crash():
    assert reason(b"\0" * 5_000) == "not an image: holds nothing but zero bytes"


@pytest.mark.parametrize(
    "data", [b"<!DOCTYPE html><html>", b"%PDF-1.4", b"PK\x03\x04", b"%!PS-Adobe-3.0 EPSF"]
)
def test_other_content_under_a_photos_name_is_an_error(data):
    assert reason(data).startswith("not an image: begins with '")
    with pytest.raises(NotAPhoto, match=r"not a photograph \(.xyz\)"):
        decode(data, name=b"a.xyz")
    with pytest.raises(NotAPhoto, match=r"not a photograph \(no extension\)"):
        decode(data, name=b"a")


def test_what_a_file_begins_with_is_printable():
    assert reason(b"a\n\x1b[31m\xff") == r"not an image: begins with 'a\n\x1b[31m\xff'"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (box(b"ftyp", b"isom\0\0\0\0mp41"), "video (MP4)"),
        (b"RIFF\x10\0\0\0AVI LIST", "video (AVI)"),
        (b"\0\x05\x16\x07\0\x02\0\0", "AppleDouble sidecar"),
    ],
)
def test_a_video_under_a_photos_name_is_skipped(data, kind):
    with pytest.raises(NotAPhoto) as caught:
        decode(data)
    assert str(caught.value) == kind


def test_formats_that_nothing_here_reads():
    assert reason(b"\xff\x0a\x00\x00", name=b"a.jxl") == "JPEG XL is not supported: convert it to JPEG"


def test_pillows_own_limit_does_not_apply(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    prepare_pillow()
    assert [decode(encode(format)).info.width for format in ("GIF", "TIFF", "JPEG")] == [96] * 3


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(FORMATS), st.data())
def test_damaged_files_end_in_a_photo_or_a_reason(format, data):
    file = bytearray(sample(format))
    for _ in range(data.draw(st.integers(0, 5))):
        place = data.draw(st.integers(0, len(file) - 1) | st.integers(0, min(300, len(file) - 1)))
        file[place] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(file)) | st.just(len(file)))
    long_side = data.draw(st.sampled_from([None, 20]))
    try:
        photo = decode(bytes(file[:cut]), long_side=long_side)
    except (NotAPhoto, UnreadablePhoto) as error:
        assert str(error).isprintable()
        assert 0 < len(str(error)) <= 200
    else:
        assert photo.pixels.ndim == 3
        assert photo.pixels.dtype == np.uint8


@settings(deadline=None)
@given(
    st.sampled_from([b"", b"\xff\xd8\xff", b"II*\0", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"RIFF....WEBPVP8X"])
    | st.sampled_from(
        [b"\0\0\0\x18ftypheic", b"\0\0\0\x18ftypavif", b"\0\0\0\x18ftypcrx ", b"IIRO", b"IIU\0"]
    ),
    st.binary(max_size=200),
    st.sampled_from([b"a.jpg", b"a.nef", b"a.dng", b"a", b"\xff.\xff"]),
)
def test_any_bytes_end_in_a_reason(start, rest, name):
    with pytest.raises((NotAPhoto, UnreadablePhoto)) as caught:
        decode(start + rest, name=name)
    assert str(caught.value).isprintable()


def test_nothing_is_written_to_stderr(capfd):
    files = [sample(format) for format in FORMATS] + [encode("TIFF", compression="tiff_lzw")]
    with warnings.catch_warnings():
        prepare_pillow()
        warnings.filterwarnings("error", module="transforms")
        for data in files:
            for cut in range(0, len(data), max(1, len(data) // 12)):
                damaged = data[:cut] + b"\xff\x7f" + data[cut + 2 :]
                for candidate in (data[:cut], damaged):
                    with contextlib.suppress(NotAPhoto, UnreadablePhoto):
                        decode(candidate)
    assert capfd.readouterr().err == ""


def test_threads_get_their_own_photos():
    files = [
        encode(format, picture(80 + i, 60)) for i in range(8) for format in ("JPEG", "PNG", "HEIF", "TIFF")
    ]
    with ThreadPoolExecutor(8) as pool:
        photos = list(pool.map(decode, files * 3))
    widths = [photo.pixels.shape[1] for photo in photos]
    assert widths == [80 + i for i in range(8) for _ in range(4)] * 3
    assert all(np.array_equal(a.pixels, decode(data).pixels) for a, data in zip(photos, files, strict=False))


def test_pixels_can_be_shared_without_being_changed():
    photo = decode(jpeg())
    with pytest.raises(ValueError, match="read-only"):
        photo.pixels[0, 0] = 0
