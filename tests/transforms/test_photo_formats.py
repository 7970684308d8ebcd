from __future__ import annotations

import struct
import zlib
from datetime import datetime

import numpy as np
import pytest
from PIL import Image

from tests.damaged_photos import greedy_tiff, png_with_exif
from tests.photo_files import FORMATS, TAKEN, encode, exif_block, jpeg, picture, png_chunk, sample
from transforms.decode import Photo, UnreadablePhoto, read_info, read_photo

# A process is set up to ignore Pillow's warnings by prepare_pillow, a test by this.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

LIMIT = 10_000_000
UPRIGHT = np.asarray(picture()).astype(int)


def decode(data: bytes) -> Photo:
    return read_photo(data, name=b"a.jpg", max_pixels=LIMIT)


def reason(data: bytes, *, max_pixels: int = LIMIT) -> str:
    with pytest.raises(UnreadablePhoto) as caught:
        read_photo(data, name=b"a.jpg", max_pixels=max_pixels)
    return str(caught.value)


def difference(photo: Photo) -> float:
    assert photo.pixels.shape == UPRIGHT.shape
    return float(np.abs(photo.pixels - UPRIGHT).mean())


def test_a_heif_is_turned_by_its_own_rotation_and_not_by_exif():
    data = encode("HEIF", exif=exif_block(orientation=6).tobytes())
    entry = bytes.fromhex("0112 0003 00000001")
    at = data.index(entry) + len(entry)
    assert np.array_equal(decode(data[:at] + b"\0\3" + data[at + 2 :]).pixels, decode(data).pixels)


def test_utc_offset_comes_with_the_time():
    exif = exif_block(exposure={0x9003: TAKEN, 0x9011: "+02:00"})
    info = read_info(jpeg(exif=exif), name=b"a.jpg", max_pixels=LIMIT)
    assert (info.taken_at, info.utc_offset) == (datetime(2019, 7, 14, 18, 32, 5), 120)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "HEIF", "AVIF"])
@pytest.mark.parametrize("damaged", [b"QQ\0*\0\0\0\x08", b"MM\0*\xff\xff\xff\xf0", b"MM\0*\0\0\0\x02"])
def test_a_damaged_exif_block_does_not_cost_the_photo(format, damaged):
    data = encode(format, exif=exif_block().tobytes())
    photo = decode(data.replace(b"MM\0*\0\0\0\x08", damaged))
    assert difference(photo) < 5
    assert photo.info.taken_at is None


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "HEIF", "AVIF", "GIF"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9, -2])
def test_a_cut_file_says_so(format, part):
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    data = encode(format, Image.fromarray(noise))
    # The last byte of a GIF, and a padding byte of others, belong to no picture.
    size = int(part * len(data)) if part > 0 else len(data) + part - (8 if format == "GIF" else 0)
    assert reason(data[:size]) == f"truncated {format}"


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg", "tiff_adobe_deflate"])
def test_a_cut_compressed_tiff_says_so(compression):
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    data = encode("TIFF", Image.fromarray(noise), compression=compression)
    assert reason(data[: len(data) // 2]) == "truncated TIFF"


@pytest.mark.parametrize("format", ["HEIF", "AVIF"])
def test_a_heif_or_avif_without_its_pixels_is_cut(format):
    data = encode(format)
    at = data.index(b"mdat") - 4
    assert reason(data[:at]) == f"truncated {format}"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "HEIF", "AVIF"])
def test_what_is_appended_to_a_photo_does_no_harm(format):
    assert difference(decode(encode(format) + b"SEFT\xff\xff\xff\xff" * 40)) < 8


def test_decompression_bombs_are_stopped_by_their_header():
    header = struct.pack(">IIBBBBB", 120_000, 90_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")
    )
    expected = "120,000 x 90,000 pixels exceed the limit of 250 megapixels (--max-pixels)"
    assert reason(bomb, max_pixels=250_000_000) == expected
    with pytest.raises(UnreadablePhoto, match="exceed"):
        read_info(bomb, name=b"a.png", max_pixels=250_000_000)


@pytest.mark.parametrize("format", FORMATS)
def test_the_limit_holds_for_every_format_even_when_reduced(format):
    data = sample(format)
    assert "96 x 64 pixels exceed" in reason(data, max_pixels=96 * 64 - 1)
    assert read_photo(data, name=b"a", max_pixels=96 * 64, long_side=10).info.width == 96


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0" + b"\0" * 8}])
def test_the_limit_holds_for_webp_before_its_canvas_is_made(options):
    assert "96 x 64 pixels exceed" in reason(encode("WEBP", **options), max_pixels=1)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_text_that_inflates_without_end_does_not_cost_the_photo(kind):
    plain = encode("PNG")
    packed = zlib.compress(b"\0" * 20_000_000)
    body = b"key\0\1\0\0\0" + packed if kind == b"iTXt" else b"key\0\0" + packed
    data = plain[:33] + png_chunk(kind, body) + plain[33:]
    assert difference(decode(data)) == 0


def test_reasons_are_short_printable_lines():
    png = bytearray(encode("PNG"))
    png[18:22] = b"\0\0\0\0"
    text = reason(bytes(png))
    assert text.startswith("damaged PNG: ")
    assert len(text) <= 200
    assert text.isprintable()


def test_headings_without_end_before_an_exif_block_take_no_time():
    # Each taken off by a copy of the rest, they would take minutes.
    data = png_with_exif(b"Exif\0\0" * 500_000 + exif_block(orientation=6).tobytes())
    assert difference(decode(data)) == 0


def test_a_tiff_directory_that_claims_the_file_many_times_is_refused():
    # Pillow would copy the whole file for each of its entries.
    assert "claims more than the file holds" in reason(greedy_tiff(entries=1500, size=100_000))
    assert "claims more than the file holds" not in reason(greedy_tiff(entries=1500, size=100_000)[:600])
    honest = greedy_tiff(entries=3, size=100_000)
    assert difference(decode(honest)) == 0


def test_a_large_tiff_is_read():
    assert difference(decode(encode("TIFF", big_tiff=True))) == 0


def test_what_a_jpeg_s_exif_names_is_not_read_by_pillow(monkeypatch):
    data = jpeg(exif=exif_block(orientation=6).tobytes())
    monkeypatch.setattr(Image.Exif, "load", None)
    assert decode(data).info.width == 64
