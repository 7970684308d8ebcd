"""CSV files that somebody had open in a spreadsheet, read again.

Spreadsheets save in the form of their country: semicolons or tabs for commas, with or without a byte order
mark, as UTF-16, columns in another order, others added. All of that is read. What isn't Unicode can't be
told from other letters, so it is refused rather than guessed.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator

from transforms.corrections import decoded, header_of
from transforms.export_table import unguarded
from transforms.library import LibraryError

_DIALECT_LINE = re.compile(r'"?sep=.;?"?', re.IGNORECASE)


def edited_rows(data: bytes, *, required: Collection[str], name: str) -> Iterator[tuple[int, dict[str, str]]]:
    """(number of its last line, cells by column) of each row; a cell that is missing is not there.

    Raises LibraryError with the file's `name` and the line where the first line has not all the columns
    `required`, or where something can't be read.
    """
    file = io.StringIO(decoded(data)[1], newline="")
    before, header = 0, None
    for line in file:
        before += 1
        if line.strip(" ,;\t\r\n") and not _DIALECT_LINE.fullmatch(line.strip()):
            header = header_of(line.rstrip("\r\n"), required)
            break
    if header is None:
        wanted = " and ".join(required)
        raise LibraryError(f"{name}: its first line must name the columns; {wanted} are needed")
    reader = csv.reader(file, delimiter=header[0])
    try:
        for cells in reader:
            number = before + reader.line_num
            if any("\udc80" <= c <= "\udcff" or c == "\ufffd" for cell in cells for c in cell):
                raise LibraryError(f'{name}, line {number}: not UTF-8 text: save the file as "CSV UTF-8"')
            if any(cell.strip() for cell in cells):
                yield number, {c: unguarded(v) for c, v in zip(header[1], cells, strict=False)}
    except csv.Error as error:
        raise LibraryError(f"{name}, line {before + reader.line_num}: {error}") from error
