"""Orientation and time of day from EXIF, and the bounded walk over TIFF directories behind it.

EXIF lies in a TIFF structure whose every number may be wrong or hostile. Nothing here follows a
chain without a limit, reads outside the data, or raises: what can't be understood is left out.
Source: Exif 2.32 (CIPA DC-008) and TIFF 6.0.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

ORIENTATION, DATE_TIME, EXIF_POINTER, SUB_IFDS = 0x0112, 0x0132, 0x8769, 0x014A

# Which time is believed first: (the time, its fraction of a second, its offset from UTC).
_TIMES = (
    (0x9003, 0x9291, 0x9011),  # DateTimeOriginal: the exposure
    (0x9004, 0x9292, 0x9012),  # DateTimeDigitized: equal to it in cameras, the scan in scanners
    (DATE_TIME, 0x9290, 0x9010),  # DateTime: the last change of the file
)
_OFFSET_TIME = 0x9010

_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_INTEGER_CODES = {1: "B", 3: "H", 4: "I", 13: "I"}
_MAX_ENTRIES = 1_000  # of one directory; the largest DNGs have some 200
_MAX_DIRECTORIES = 64
_MAX_VALUES = 64
_MAX_STRIPS = 100_000
_MAX_HEADINGS = 3  # some programs write "Exif" before a block that has it already
_PICTURE_TAGS = ((0x0111, 0x0117), (0x0144, 0x0145))  # offsets and lengths of strips and of tiles

_TIME = re.compile(rb"\s*(\d{4})[:/.-](\d{1,2})[:/.-](\d{1,2})[ T]+(\d{1,2}):(\d{1,2}):(\d{1,2})")
_OFFSET = re.compile(rb"\s*([+-])(\d{1,2}):?(\d{2})")
_FIRST_YEAR = 1826  # the oldest photograph that survives
_MAX_OFFSET_MINUTES = 15 * 60


@dataclass(frozen=True)
class Exif:
    """What the index wants of EXIF.

    `orientation` is 1 to 8, 1 where it is missing or nonsense; `taken_at` the camera's local
    wall-clock time; `utc_offset` minutes east of UTC, only beside a `taken_at`.
    """

    orientation: int = 1
    taken_at: datetime | None = None
    utc_offset: int | None = None


@dataclass(frozen=True)
class Entry:
    """One entry of a directory: TIFF type, number of values, and where in the data they lie."""

    type: int
    count: int
    offset: int


Directory = dict[int, Entry]


class Tiff:
    """A TIFF structure in `data`: the directories that can be read, and their values.

    Raises ValueError where `data` does not begin with a byte order. The magic number after it is
    not checked, because RAW formats have their own.
    """

    def __init__(self, data: bytes) -> None:
        order = {b"II": "<", b"MM": ">"}.get(data[:2])
        if order is None or len(data) < 8:
            raise ValueError("not a TIFF structure")
        self.data = data
        self._order = order
        self._first = struct.unpack_from(order + "I", data, 4)[0]

    def directory(self, offset: int) -> tuple[Directory, int]:
        """The entries at `offset`, and the next directory's offset (0 for none).

        A tag that comes twice counts once, the first time. Values may lie outside the data, as in
        a file that is cut: `integers` and `text` check before they read.
        """
        entries: Directory = {}
        data, order = self.data, self._order
        if not 0 < offset <= len(data) - 2:
            return entries, 0
        (count,) = struct.unpack_from(order + "H", data, offset)
        end = offset + 2 + 12 * count
        for position in range(offset + 2, min(end, offset + 2 + 12 * _MAX_ENTRIES), 12):
            if position + 12 > len(data):
                break
            tag, kind, number = struct.unpack_from(order + "HHI", data, position)
            size = _TYPE_SIZES.get(kind, 0) * number
            where = position + 8
            if size > 4:
                (where,) = struct.unpack_from(order + "I", data, where)
            if size:
                entries.setdefault(tag, Entry(kind, number, where))
        following = struct.unpack_from(order + "I", data, end)[0] if end + 4 <= len(data) else 0
        return entries, following

    def directories(self) -> Iterator[Directory]:
        """The main chain of directories and all SubIFDs, each once, in order of discovery."""
        waiting = [self._first]
        seen: set[int] = set()
        while waiting and len(seen) < _MAX_DIRECTORIES:
            offset = waiting.pop(0)
            if offset in seen:
                continue
            seen.add(offset)
            entries, following = self.directory(offset)
            if not entries:
                continue
            yield entries
            waiting += [*self.integers(entries, SUB_IFDS), following]

    def first_directory(self) -> Directory:
        """IFD0."""
        return self.directory(self._first)[0]

    def integers(self, entries: Directory, tag: int, *, limit: int = _MAX_VALUES) -> tuple[int, ...]:
        """The unsigned integers of a tag, at most `limit`; () where it is missing or something else."""
        entry = entries.get(tag)
        code = _INTEGER_CODES.get(entry.type) if entry else None
        if entry is None or code is None:
            return ()
        layout = f"{self._order}{min(entry.count, limit)}{code}"
        if entry.offset + struct.calcsize(layout) > len(self.data):
            return ()
        return struct.unpack_from(layout, self.data, entry.offset)

    def is_cut(self) -> bool:
        """Whether the first picture is declared to end behind the end of the data."""
        size, entries = len(self.data), self.first_directory()
        if not entries:
            return self._first >= size
        for offsets, lengths in _PICTURE_TAGS:
            starts = self.integers(entries, offsets, limit=_MAX_STRIPS)
            counts = self.integers(entries, lengths, limit=_MAX_STRIPS)
            unreadable = (offsets in entries and not starts) or (lengths in entries and not counts)
            if unreadable or any(start + count > size for start, count in zip(starts, counts, strict=False)):
                return True
        return False

    def claimed_bytes(self) -> int:
        """How many bytes of the data the values of the first directory take together, all of its
        entries counted. Reads BigTIFF as well, as no other method here does."""
        data, order = self.data, self._order
        big = data[2:4] in (b"+\0", b"\0+")
        start, head, row, inside = (8, "Q", "HHQQ", 8) if big else (4, "H", "HHII", 4)
        try:
            (first,) = struct.unpack_from(order + ("Q" if big else "I"), data, start)
            (count,) = struct.unpack_from(order + head, data, first)
        except (struct.error, OverflowError):
            return 0
        row_size = struct.calcsize(order + row)
        first += struct.calcsize(order + head)
        rows = memoryview(data)[first : first + row_size * count]
        claimed = 0
        for _, kind, number, place in struct.iter_unpack(
            order + row, rows[: len(rows) // row_size * row_size]
        ):
            size = _TYPE_SIZES.get(kind, 8) * number
            if size > inside:
                claimed += min(size, max(0, len(data) - place))
        return claimed

    def integer(self, entries: Directory, tag: int) -> int | None:
        """The first unsigned integer of a tag."""
        values = self.integers(entries, tag)
        return values[0] if values else None

    def text(self, entries: Directory, tag: int) -> bytes:
        """The first 64 bytes of a text; b"" where it is missing or something else."""
        entry = entries.get(tag)
        if entry is None or entry.type not in (2, 7):
            return b""
        return self.data[entry.offset : entry.offset + min(entry.count, _MAX_VALUES)]


def read_exif(block: bytes) -> Exif:
    """Reads an EXIF block, with or without ``Exif\\0\\0`` before it, or a whole TIFF file. Never raises."""
    for _ in range(_MAX_HEADINGS):
        block = block.removeprefix(b"Exif\0\0")
    try:
        tiff = Tiff(block)
    except ValueError:
        return Exif()
    first = tiff.first_directory()
    pointer = tiff.integer(first, EXIF_POINTER)
    # Canon's CR3 puts the tags of the EXIF directory into the first one of a block of its own.
    tags = {**first, **(tiff.directory(pointer)[0] if pointer else {})}
    orientation = tiff.integer(first, ORIENTATION) or 1
    taken_at, utc_offset = _taken_at(tiff, tags)
    return Exif(orientation if orientation <= 8 else 1, taken_at, utc_offset)


def _taken_at(tiff: Tiff, tags: Directory) -> tuple[datetime | None, int | None]:
    for time_tag, fraction_tag, offset_tag in _TIMES:
        time = parse_time(tiff.text(tags, time_tag), fraction=tiff.text(tags, fraction_tag))
        if time is not None:
            offsets = (parse_utc_offset(tiff.text(tags, tag)) for tag in (offset_tag, _OFFSET_TIME))
            return time, next((offset for offset in offsets if offset is not None), None)
    return None, None


def parse_time(text: bytes, *, fraction: bytes = b"") -> datetime | None:
    """``2019:07:14 18:32:05`` as a time; None for anything that is no time a photo can have.

    `fraction` holds the decimal digits after the second.
    """
    match = _TIME.match(text)
    if match is None:
        return None
    digits = fraction.strip(b"\0 ")[:6]
    microsecond = int(digits.ljust(6, b"0")) if digits.isdigit() else 0
    try:
        year, month, day, hour, minute, second = (int(part) for part in match.groups())
        time = datetime(year, month, day, hour, minute, second, microsecond)
        known = time.year >= _FIRST_YEAR and time <= datetime.now() + timedelta(days=366)
    except ValueError:
        return None
    return time if known else None


def parse_utc_offset(text: bytes) -> int | None:
    """``+05:30`` as minutes east of UTC; None for anything else."""
    if text.strip(b"\0 ") == b"Z":
        return 0
    match = _OFFSET.match(text)
    if match is None:
        return None
    sign, hours, minutes = match.groups()
    offset = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or offset > _MAX_OFFSET_MINUTES:
        return None
    return -offset if sign == b"-" else offset
