from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.photo_files import (
    STORED,
    Value,
    canon_raw,
    encode,
    exif_block,
    fujifilm_raw,
    jpeg,
    picture,
    tiff_raw,
)
from transforms.decode import NotAPhoto, UnreadablePhoto, read_info, read_photo
from transforms.raw import find_preview, jpeg_size, raw_format

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

LIMIT = 10_000_000
TAKEN_AT = datetime(2019, 7, 14, 18, 32, 5)
DNG_VERSION: dict[int, Value] = {0xC612: [1 | 4 << 8]}
PREVIEW = jpeg(128, 80)
THUMBNAIL = jpeg(32, 20)

FILES = {
    "NEF": (b"a.nef", tiff_raw(PREVIEW, magic=b"MM\0*", thumbnail=THUMBNAIL)),
    "ARW": (b"a.ARW", tiff_raw(PREVIEW)),
    "CR2": (b"a.cr2", tiff_raw(PREVIEW, magic=b"II*\0", place="strip", thumbnail=THUMBNAIL)),
    "DNG": (b"a", tiff_raw(PREVIEW, extra=DNG_VERSION)),
    "RW2": (b"a.rw2", tiff_raw(PREVIEW, magic=b"IIU\0", place="blob")),
    "RWL": (b"a.rwl", tiff_raw(PREVIEW, magic=b"IIU\0", place="blob")),
    "ORF": (b"a.orf", tiff_raw(PREVIEW, magic=b"IIRO", place="nowhere", thumbnail=THUMBNAIL)),
    "PEF": (b"a.pef", tiff_raw(PREVIEW, place="nowhere")),
    "RAF": (b"a.raf", fujifilm_raw(jpeg(128, 80, exif=exif_block()))),
    "CR3": (b"a.cr3", canon_raw(PREVIEW, thumbnail=THUMBNAIL)),
    "X3F": (b"a.x3f", b"FOVb" + b"\0" * 200 + THUMBNAIL + jpeg(128, 80, exif=exif_block()) + b"\0" * 50),
}


@pytest.mark.parametrize("format", FILES)
def test_the_largest_preview_is_the_photo(format):
    name, data = FILES[format]
    photo = read_photo(data, name=name, max_pixels=LIMIT)
    expected = np.asarray(picture(128, 80)).astype(int)
    assert (photo.info.width, photo.info.height, photo.info.format) == (128, 80, format)
    assert np.abs(photo.pixels - expected).mean() < 4
    assert photo.info.taken_at == TAKEN_AT
    assert read_info(data, name=name, max_pixels=LIMIT) == photo.info


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_raw_files_orientation_turns_its_preview(orientation):
    stored = picture().transpose(STORED[orientation]) if orientation > 1 else picture()
    preview = encode("JPEG", stored, quality=92)
    files = {
        b"a.nef": tiff_raw(preview, orientation=orientation),
        b"a.cr3": canon_raw(preview, orientation=orientation),
    }
    for name, data in files.items():
        photo = read_photo(data, name=name, max_pixels=LIMIT)
        assert np.abs(photo.pixels - np.asarray(picture()).astype(int)).mean() < 4


def test_a_preview_with_its_own_orientation_is_not_turned_twice():
    stored = picture().transpose(STORED[6])
    preview = encode("JPEG", stored, quality=92, exif=exif_block(orientation=6))
    photo = read_photo(tiff_raw(preview, orientation=6), name=b"a.nef", max_pixels=LIMIT)
    assert np.abs(photo.pixels - np.asarray(picture()).astype(int)).mean() < 4


def test_canons_time_zone_is_read():
    info = read_info(canon_raw(PREVIEW), name=b"a.cr3", max_pixels=LIMIT)
    assert (info.taken_at, info.utc_offset) == (TAKEN_AT, 9 * 60)


def test_signatures_decide_before_extensions():
    cr2 = b"II*\0\x10\0\0\0CR\x02\0" + b"\0" * 40
    assert raw_format(cr2, b"renamed.dng") == "CR2"
    assert raw_format(FILES["ORF"][1], b"x.jpg") == "ORF"
    assert raw_format(encode("TIFF"), b"scan.tif") is None
    assert raw_format(jpeg(), b"a.nef") is None


def test_a_jpeg_named_as_raw_is_a_jpeg():
    assert read_info(jpeg(), name=b"a.nef", max_pixels=LIMIT).format == "JPEG"


def test_sensor_data_in_lossless_jpeg_is_no_preview():
    lossless = PREVIEW.replace(b"\xff\xc0", b"\xff\xc3", 1)
    assert jpeg_size(lossless, 0) is None
    data = tiff_raw(lossless, place="strip", thumbnail=THUMBNAIL)
    assert read_info(data, name=b"a.cr2", max_pixels=LIMIT).width == 32


def test_a_tile_of_a_dng_does_not_pass_for_its_picture():
    data = tiff_raw(PREVIEW, place="nowhere", thumbnail=THUMBNAIL, extra=DNG_VERSION)
    assert read_info(data, name=b"a.dng", max_pixels=LIMIT).width == 32


def test_the_thumbnail_inside_a_preview_does_not_pass_for_it():
    outer = encode("JPEG", picture(128, 80), exif=b"Exif\0\0II*\0" + b"\0" * 30 + THUMBNAIL)
    data = tiff_raw(outer, magic=b"IIRO", place="nowhere")
    assert read_info(data, name=b"a.orf", max_pixels=LIMIT).width == 128


def test_without_a_preview_the_reason_says_so():
    with pytest.raises(UnreadablePhoto, match="NEF without a JPEG preview"):
        read_info(tiff_raw(b"", place="nowhere"), name=b"a.nef", max_pixels=LIMIT)


@pytest.mark.parametrize("format", ["NEF", "CR2", "RAF"])
def test_a_cut_file_does_not_fall_back_to_its_thumbnail(format):
    name, data = FILES[format]
    cut = data[: data.rindex(PREVIEW[-200:]) if PREVIEW in data else 400]
    with pytest.raises(UnreadablePhoto, match=f"truncated {format}"):
        read_photo(cut, name=name, max_pixels=LIMIT)


def test_the_limit_holds_for_previews():
    with pytest.raises(UnreadablePhoto, match="128 x 80 pixels exceed"):
        read_info(FILES["NEF"][1], name=b"a.nef", max_pixels=10_000)


def test_many_false_beginnings_do_not_hide_the_end():
    data = b"FOVb" + b"\xff\xd8\xff" * 500 + PREVIEW
    preview = find_preview(data, "X3F")
    assert preview is not None
    assert preview.start == 4 + 1500


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(sorted(FILES)), st.data())
def test_damaged_raw_files_end_in_a_photo_or_a_reason(format, data):
    name, original = FILES[format]
    file = bytearray(original)
    for _ in range(data.draw(st.integers(0, 6))):
        file[data.draw(st.integers(0, len(file) - 1) | st.integers(0, 1500))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(file)) | st.just(len(file)))
    try:
        read_photo(bytes(file[:cut]), name=name, max_pixels=LIMIT)
    except (NotAPhoto, UnreadablePhoto) as error:
        assert str(error).isprintable()
