from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.photo_files import box
from transforms.file_kinds import (
    RAW_EXTENSIONS,
    extension,
    foreign_kind,
    image_format,
    iso_boxes,
    kind_by_name,
)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (b"2019/IMG_0001.MOV", "video (MOV)"),
        (b"clip.mp4", "video (MP4)"),
        (b"a.XMP", "sidecar (XMP)"),
        (b"IMG_1.AAE", "sidecar (AAE)"),
        (b"MVI_1.THM", "sidecar (THM)"),
        (b"Thumbs.db", "sidecar (DB)"),
        (b"a/.DS_Store", "sidecar (.DS_Store)"),
        (b"a/.nomedia", "sidecar (.nomedia)"),
        (b"IMG_1.jpg.json", "sidecar (JSON)"),
        (b"notes.txt", "document (TXT)"),
        (b"photos.zip", "archive (ZIP)"),
        (b"a/._IMG_0001.jpg", "AppleDouble sidecar"),
        (b"caf\xe9.avi", "video (AVI)"),
    ],
)
def test_other_files_are_known_by_name(path, kind):
    assert kind_by_name(path) == kind


@pytest.mark.parametrize(
    "path",
    [b"a.jpg", b"a.JPEG", b"a.HEIC", b"a.avif", b"a.png", b"a.MPO", b"a.NEF", b"a.xyz", b"a", b"", b".jpg"]
    + [b"x.mov/photo", b"a.jpg\xff", b"mov"]
    + [b"x." + suffix.encode() for suffix in sorted(RAW_EXTENSIONS)],
)
def test_photographs_and_unknown_names_have_to_be_read(path):
    assert kind_by_name(path) is None


@pytest.mark.parametrize(
    ("name", "suffix"),
    [(b"A.JPG", "jpg"), (b"d.ir/file", ""), (b".hidden", ""), (b"a.tar.gz", "gz"), (b"a.\xff", "\\xff")],
)
def test_extensions(name, suffix):
    assert extension(name) == suffix


@pytest.mark.parametrize(
    ("brands", "format", "kind"),
    [
        (b"heic\0\0\0\0mif1heic", "HEIF", None),
        (b"mif1\0\0\0\0mif1heic", "HEIF", None),
        (b"mif1\0\0\0\0mif1avif", "AVIF", None),
        (b"avif\0\0\0\0mif1miaf", "AVIF", None),
        (b"avis\0\0\0\0msf1iso8", "AVIF", None),
        (b"isom\0\0\0\0mp41avc1", None, "video (MP4)"),
        (b"qt  \0\0\0\0qt  ", None, "video (QuickTime)"),
        (b"3gp4\0\0\0\0isom", None, "video (3GP)"),
        (b"M4A \0\0\0\0isom", None, "audio (M4A)"),
    ],
)
def test_brands_tell_pictures_from_films(brands, format, kind):
    data = box(b"ftyp", brands)
    assert image_format(data) == format
    if format is None:
        assert foreign_kind(data) == kind


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"RIFF\x10\0\0\0AVI LIST", "video (AVI)"),
        (b"RIFF\x0a\0\0\0WAVEfmt ", "audio (WAV)"),
        (box(b"wide", b"") + box(b"mdat", b"frames"), "video (QuickTime)"),
        (b"\x1a\x45\xdf\xa3\x01\0\0\0", "video (Matroska)"),
        (b"\0\0\x01\xba\x44\0", "video (MPEG)"),
        ((b"\x47" + b"\0" * 187) * 3, "video (MPEG)"),
        ((b"\0\0\0\0\x47" + b"\0" * 187) * 3, "video (MPEG)"),
        (b"\0\x05\x16\x07\0\x02\0\0", "AppleDouble sidecar"),
        (b"8BPS\0\x01", "layered document (PSD)"),
        (b"GARBAGE", None),
    ],
)
def test_other_kinds_are_known_by_content(data, kind):
    assert foreign_kind(data) == kind
    assert image_format(data) is None


def test_a_box_that_is_cut_still_says_where_it_would_end():
    data = box(b"ftyp", b"heic") + box(b"mdat", b"x" * 100)
    assert list(iso_boxes(data[:-30], 0, len(data) - 30)) == [(b"ftyp", 8, 12), (b"mdat", 20, 120)]


@given(st.binary(max_size=300))
def test_any_bytes_end_the_walk_over_boxes(data):
    assert all(0 < start <= end for _, start, end in iso_boxes(data, 0, len(data)))
