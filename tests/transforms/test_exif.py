from __future__ import annotations

import struct
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.photo_files import Value, directory, exif_block
from transforms.exif import Exif, Tiff, parse_time, parse_utc_offset, read_exif

ORIGINAL, DIGITIZED, FRACTION = 0x9003, 0x9004, 0x9291
OFFSET_TIME, OFFSET_ORIGINAL = 0x9010, 0x9011


def test_the_exposure_comes_before_the_scan_and_the_last_change():
    tags = {ORIGINAL: "2001:02:03 04:05:06", DIGITIZED: "2002:02:03 04:05:06"}
    assert read_exif(exif_block(exposure=tags).tobytes()).taken_at == datetime(2001, 2, 3, 4, 5, 6)
    del tags[ORIGINAL]
    assert read_exif(exif_block(exposure=tags).tobytes()).taken_at == datetime(2002, 2, 3, 4, 5, 6)
    assert read_exif(exif_block().tobytes()).taken_at == datetime(2019, 7, 14, 18, 32, 5)


def test_a_time_that_is_nonsense_gives_way_to_the_next():
    block = exif_block(exposure={ORIGINAL: "0000:00:00 00:00:00", DIGITIZED: "2002:02:03 04:05:06"})
    assert read_exif(block.tobytes()).taken_at == datetime(2002, 2, 3, 4, 5, 6)


def test_offset_and_fraction_belong_to_the_time():
    tags = {ORIGINAL: "2021:12:31 23:59:59", FRACTION: "25", OFFSET_ORIGINAL: "-03:30"}
    exif = read_exif(exif_block(orientation=6, exposure=tags).tobytes())
    assert exif == Exif(6, datetime(2021, 12, 31, 23, 59, 59, 250_000), -210)


def test_the_general_offset_stands_in_for_a_missing_one():
    tags = {ORIGINAL: "2021:12:31 23:59:59", OFFSET_TIME: "+01:00"}
    assert read_exif(exif_block(exposure=tags).tobytes()).utc_offset == 60


def test_an_offset_without_a_time_says_nothing():
    block = exif_block(taken="    :  :     :  :  ", exposure={OFFSET_TIME: "+01:00"})
    assert read_exif(block.tobytes()) == Exif()


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_are_read(order: str) -> None:
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    entries: dict[int, Value] = {0x0112: [8], 0x0132: b"1999:01:02 03:04:05\0"}
    block = head + directory(entries, at=8, order=order)
    assert read_exif(block) == Exif(8, datetime(1999, 1, 2, 3, 4, 5))


@pytest.mark.parametrize("orientation", [0, 9, 255, 65_000])
def test_an_orientation_that_does_not_exist_is_upright(orientation):
    block = b"II*\0\x08\0\0\0" + directory({0x0112: [orientation]}, at=8)
    assert read_exif(block).orientation == 1


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"0000:00:00 00:00:00",
        b"    :  :     :  :  ",
        b"2019:13:01 00:00:00",
        b"2019:02:30 00:00:00",
        b"2019:02:03 24:00:00",
        b"1825:01:01 00:00:00",
        b"9999:12:31 23:59:59",
        b"\xff\xfe\x00garbage",
        b"2019",
    ],
)
def test_nonsense_is_no_time(text):
    assert parse_time(text) is None


def test_a_clock_may_be_a_little_ahead_but_not_years():
    soon, late = (datetime.now() + timedelta(days=days) for days in (200, 500))
    assert parse_time(soon.strftime("%Y:%m:%d %H:%M:%S").encode()) is not None
    assert parse_time(late.strftime("%Y:%m:%d %H:%M:%S").encode()) is None


@pytest.mark.parametrize("text", [b"2019-07-14 18:32:05", b"2019:07:14T18:32:05Z", b" 2019/7/14 18:32:05\0"])
def test_other_spellings_of_a_time_are_understood(text):
    assert parse_time(text) == datetime(2019, 7, 14, 18, 32, 5)


@pytest.mark.parametrize("fraction", [b"\0\0", b"  ", b"x1", b"\xb2", b"-1"])
def test_a_fraction_that_is_no_number_is_left_out(fraction):
    assert parse_time(b"2019:07:14 18:32:05", fraction=fraction) == datetime(2019, 7, 14, 18, 32, 5)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        (b"+02:00\0", 120),
        (b"-03:30", -210),
        (b"+0545", 345),
        (b"Z", 0),
        (b"+00:00", 0),
        (b"", None),
        (b"   :  ", None),
        (b"02:00", None),
        (b"+25:00", None),
        (b"+01:75", None),
    ],
)
def test_offsets_are_minutes_east_of_utc(text, minutes):
    assert parse_utc_offset(text) == minutes


def test_directories_that_lead_in_circles_end():
    block = b"II*\0\x08\0\0\0" + directory({0x014A: [8, 8, 50]}, at=8, following=8)
    assert len(list(Tiff(block).directories())) == 1


def test_huge_counts_are_cut_down_to_the_data():
    entries = struct.pack("<HHHII", 65_535, 0x0132, 2, 0xFFFFFFFF, 0xFFFFFFF0)
    entries += struct.pack("<HHII", 0x0112, 3, 0xFFFFFFFF, 8)
    assert read_exif(b"II*\0\x08\0\0\0" + entries) == Exif()


@given(st.data())
def test_damaged_exif_never_raises(data):
    tags = {ORIGINAL: "2001:02:03 04:05:06", FRACTION: "25", OFFSET_ORIGINAL: "+01:00"}
    block = bytearray(exif_block(exposure=tags).tobytes())
    for _ in range(data.draw(st.integers(1, 8))):
        block[data.draw(st.integers(0, len(block) - 1))] = data.draw(st.integers(0, 255))
    exif = read_exif(bytes(block[: data.draw(st.integers(0, len(block)))]))
    assert 1 <= exif.orientation <= 8
    assert exif.utc_offset is None or exif.taken_at is not None


@given(st.binary(max_size=200), st.sampled_from([b"", b"Exif\0\0", b"II*\0", b"MM\0*", b"II*\0\x08\0\0\0"]))
def test_any_bytes_are_some_exif(block, start):
    assert 1 <= read_exif(start + block).orientation <= 8
