"""The user's corrections without those that speak of what is forgotten."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Mapping
from dataclasses import replace

from transforms.corrections import (
    COLUMNS,
    LINE_END,
    MERGE,
    NOT_THIS_PERSON,
    SAME,
    SEPARATOR,
    UNDO,
    Anchor,
    Correction,
    anchors_cell,
    anchors_of,
    check_complete,
    decoded,
    header_of,
    parse,
    to_cell,
)
from transforms.mentions import Mentions

_, _, _, _WHO, _WITH, _, _FACES, _NOTE = COLUMNS
_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def without_mentions(data: bytes, gone: Mentions) -> tuple[bytes, frozenset[str]]:
    """A corrections file without the lines that speak of what is `gone`, and the ids of those lines.

    Of lines that speak of others too only the mention goes, as long as they still mean the same. All other
    lines stay byte for byte, in whatever form the file is.
    """
    known = {c.line: c for c in parse(data).corrections}
    changed: dict[int, Correction | None] = {n: _left(c, gone) for n, c in known.items()}
    lost = {known[n].id for n, c in changed.items() if c is None}
    while True:  # what took back a line that is gone has nothing to take back
        orphans = {
            n for n, c in changed.items() if c is not None and c.kind == UNDO and set(c.references) <= lost
        }
        if not orphans:
            break
        changed |= dict.fromkeys(orphans)
        lost |= {known[n].id for n in orphans}
    encoding, text = decoded(data)
    mark = next((m for m in _MARKS if data.startswith(m)), b"")
    columns: tuple[str, ...] = ()
    delimiter, kept = ",", list[str]()
    pieces = LINE_END.split(text)
    endings = [*LINE_END.findall(text), ""]
    for number, (line, ending) in enumerate(zip(pieces, endings, strict=True), start=1):
        header = header_of(line)
        if number in known:
            correction = changed[number]
            if correction is not None:
                same = correction == known[number]
                kept.append(_line(line, correction, same, columns, delimiter, gone) + ending)
        elif header is not None or not gone.within(line):
            kept.append(line + ending)
        if header is not None:
            delimiter, columns = header
    body = "".join(kept).encode(encoding, "surrogateescape" if encoding == "utf-8" else "strict")
    return mark + body, frozenset(lost)


def anchors_left(anchors: Mapping[str, Anchor], gone: Mentions) -> dict[str, Anchor]:
    """The anchors that still have faces, of references that are still there."""
    left = {text: replace(a, faces=gone.faces_left(a.faces)) for text, a in anchors.items()}
    return {text: a for text, a in left.items() if a.faces and not gone.reference(text)}


def anchors_json_left(anchors: Mapping[str, str], gone: Mentions) -> dict[str, str]:
    """As `anchors_left`, of the anchors that a revision keeps by correction."""
    left = {
        correction: cell if not gone.within(cell) else anchors_cell(anchors_left(anchors_of(cell), gone))
        for correction, cell in anchors.items()
        if correction not in gone.ids
    }
    return {correction: cell for correction, cell in left.items() if cell}


def _left(correction: Correction, gone: Mentions) -> Correction | None:
    """What is left of a correction; None where it can't mean the same any more."""
    anchors = anchors_left(correction.anchors, gone)
    kept = [
        text for text in correction.references
        if not gone.reference(text) and (text in anchors or text not in correction.anchors)
    ]  # fmt: skip
    if correction.name in gone.names or not kept:
        return None
    symmetric = correction.kind in (SAME, MERGE)
    if kept[0] != correction.who and not symmetric:
        return None
    fewer = len(kept) < len(correction.references) or len(anchors) < len(correction.anchors)
    if correction.kind == NOT_THIS_PERSON and fewer:  # alone a face would mean the person it is with now
        return None
    left = replace(correction, who=kept[0], others=tuple(kept[1:]), anchors=anchors)
    try:
        check_complete(left)
    except ValueError:
        return None
    return left


def _line(
    line: str, left: Correction, same: bool, columns: tuple[str, ...], delimiter: str, gone: Mentions
) -> str:
    """The line with what is `left` of its correction, without notes that speak of what is gone; as it stands
    where that is all of it."""
    cells = next(csv.reader([line], delimiter=delimiter))
    new = {} if same else {
        _WHO: left.who, _WITH: SEPARATOR.join(left.others), _FACES: anchors_cell(left.anchors),
    }  # fmt: skip
    for place, column in enumerate(columns[: len(cells)]):
        if column == _NOTE or column not in COLUMNS:
            new |= {column: ""} if gone.within(cells[place]) else {}
        cells[place] = to_cell(new[column]) if column in new else cells[place]
    if not new:
        return line
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="").writerow(cells)
    return out.getvalue()
