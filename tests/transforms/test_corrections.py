from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.corrections import (
    COLUMNS,
    KINDS,
    Anchor,
    Correction,
    anchors_cell,
    anchors_of,
    appended,
    parse,
    row_of,
)

P1, P2 = "p-0000000001", "p-0000000002"
F1, F2 = "a" * 32 + ":0", "b" * 32 + ":1"
PRINTABLE = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), min_size=1).map(str.strip)
NAMES = (
    PRINTABLE | st.sampled_from(["=1+1", "+49", "-Anna", "@x", "'=x", "''-", "＝1", "a;b", 'a "b"'])
).filter(bool)


def file_of(*rows: str, header: str = "kind,who,with,name,date,id") -> bytes:
    return "\n".join([header, *rows]).encode()


def one(data: bytes) -> Correction:
    (found,) = parse(data).corrections
    return found


def test_an_empty_file_holds_nothing() -> None:
    assert parse(b"").corrections == () and parse(b"").problems == ()
    assert parse(b"\xef\xbb\xbf\r\n\r\n").problems == ()


@given(
    name=NAMES,
    date=st.dates().map(lambda d: d.isoformat()),
    delimiter=st.sampled_from(",;\t"),
    newline=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    columns=st.permutations([*COLUMNS, "my own"]),
    blanks=st.integers(0, 2),
)
def test_a_line_is_read_however_a_spreadsheet_saved_it(
    name: str, date: str, delimiter: str, newline: str, encoding: str, columns: list[str], blanks: int
) -> None:
    row = row_of(
        id="c-00000001", date=date, kind="merge", who=P1, others=[P2, F1], name=name,
        anchors={P1: Anchor((F1, F2), False), F1: Anchor((F1,), True)},
    )  # fmt: skip
    first = parse(appended(b"", row)).corrections[0]
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=newline)
    writer.writerow(c.upper() for c in columns)
    for _ in range(blanks):
        writer.writerow([""] * len(columns))
    cells = next(csv.DictReader(io.StringIO(appended(b"", row).decode("utf-8-sig"))))
    writer.writerow(cells.get(c, "mine") for c in columns)
    found = one(out.getvalue().encode(encoding))
    assert (found.name, found.kind, found.who, found.others) == (name, "merge", P1, (P2, F1))
    assert found.date == date and found.id == "c-00000001"
    assert found.anchors == first.anchors == {P1: Anchor((F1, F2), False), F1: Anchor((F1,), True)}
    assert found.line == blanks + 2


@given(st.lists(NAMES, min_size=1, max_size=5))
def test_appending_keeps_what_is_there_byte_for_byte(names: list[str]) -> None:
    data = b""
    for number, name in enumerate(names):
        row = row_of(id=f"c-{number:08x}", date="2026-01-01", kind="name", who=P1, name=name)
        longer = appended(data, row)
        assert longer.startswith(data)
        data = longer
    assert [c.name for c in parse(data).corrections] == names
    assert not parse(data).problems


@given(name=NAMES)
def test_no_cell_that_is_written_is_a_formula(name: str) -> None:
    row = row_of(id="c-1", date="2026-01-01", kind="name", who="=cmd|' /C calc'!A0#1", name=name, note=name)
    cells = list(csv.reader(io.StringIO(appended(b"", row).decode("utf-8-sig"))))[1]
    assert not [c for c in cells if c[:1] in tuple("=+-@\t\r＝＋－＠") and c]


def test_a_new_line_takes_the_form_of_the_file() -> None:
    saved = "\ufeffname;KIND;who;with;faces;date;id\r\nAnna;name;p-1;;;2020-05-01;c-1".encode()
    row = row_of(id="c-2", date="2026-01-01", kind="name", who=P1, name="Bo; b")
    longer = appended(saved, row)
    assert longer.startswith(saved + b'\r\n"Bo; b";name;')
    assert [c.name for c in parse(longer).corrections] == ["Anna", "Bo; b"]


def test_a_file_without_the_columns_that_are_needed_gets_a_line_of_columns() -> None:
    saved = file_of(f"not-a-face,{F1}", header="kind,who")
    longer = appended(saved, row_of(id="c-2", date="2026-01-01", kind="name", who=P1, name="Anna"))
    assert longer.startswith(saved + b"\n" + ",".join(COLUMNS).encode())
    assert [c.kind for c in parse(longer).corrections] == ["not-a-face", "name"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nome,p-1,,Anna", "'nome' is no kind"),
        ("name,,,Anna", "'who' is empty"),
        ("name,p-1,,", "needs a name"),
        ("merge,p-1,,", "needs the other faces"),
        ('name,p-1,,"Anna', "quotation marks"),
        ("name,p-1,,M\udcfcller", "not UTF-8"),
    ],
)
def test_a_broken_line_names_its_number_and_leaves_the_rest_working(line: str, message: str) -> None:
    before, after = f"not-a-face,{F1}", f"not-a-face,{F2}"
    data = "\n".join(["kind,who,with,name", before, line, after]).encode("utf-8", "surrogateescape")
    file = parse(data)
    assert [c.who for c in file.corrections] == [F1, F2]
    (problem,) = file.problems
    assert problem.lines == (3,) and "line 3" in problem.message and message in problem.message


def test_a_file_without_names_of_columns_says_so() -> None:
    (problem,) = parse(b"name,p-1,,Anna\n").problems
    assert "line 1" in problem.message and "kind" in problem.message


@given(st.sampled_from(KINDS))
def test_kinds_may_be_written_as_words(kind: str) -> None:
    spoken = kind.replace("-", " ").capitalize()
    assert one(file_of(f"{spoken},{F1},{F2},Anna")).kind == kind


def test_several_ids_may_stand_in_one_cell() -> None:
    assert one(file_of(f'merge,"{P1} {P2}",,')).references == (P1, P2)
    found = one(file_of(f"split,{P1},{F1} | my photo 1.jpg#2 | {F2}"))
    assert found.others == (F1, "my photo 1.jpg#2", F2)


def test_undo_takes_back_and_undo_of_that_brings_back() -> None:
    rows = [f"name,{P1},,Anna,2026-01-01,c-00000001", "undo,c-00000001,,,2026-01-02,c-00000002"]
    file = parse(file_of(*rows))
    assert not file.active and len(file.corrections) == 2
    file = parse(file_of(*rows, "undo,c-00000002,,,2026-01-03,c-00000003"))
    assert [c.name for c in file.active] == ["Anna"]


def test_an_undo_of_nothing_is_reported() -> None:
    file = parse(file_of("undo,c-00000009"))
    assert "no correction c-00000009" in file.problems[0].message


def test_lines_without_an_id_have_one_that_stays_when_lines_are_sorted() -> None:
    rows = [f"name,{P1},,Anna,2026-01-01,", f"name,{P2},,Bo,2026-01-02,"]
    ids = {c.name: c.id for c in parse(file_of(*rows)).corrections}
    assert ids == {c.name: c.id for c in parse(file_of(*rows[::-1])).corrections}
    assert len(set(ids.values())) == 2
    assert not parse(file_of(*rows, f"undo,{ids['Anna']}")).problems


def test_dates_give_the_order() -> None:
    rows = [f"rename,{P1},,B,2026-03-01", f"name,{P1},,A,2026-01-01", f"rename,{P1},,C,"]
    assert [c.name for c in parse(file_of(*rows)).corrections] == ["A", "B", "C"]


def test_a_copied_line_keeps_neither_from_working() -> None:
    rows = [f"not-a-face,{F1},,,2026-01-01,c-00000001", f"not-a-face,{F2},,,2026-01-01,c-00000001"]
    file = parse(file_of(*rows))
    assert [c.who for c in file.active] == [F1, F2] and len({c.id for c in file.active}) == 2


@given(
    st.dictionaries(
        NAMES.filter(lambda t: "|" not in t), st.tuples(st.booleans(), st.integers(1, 8)), max_size=3
    )
)
def test_anchors_are_read_as_written(found: dict[str, tuple[bool, int]]) -> None:
    anchors = {
        text: Anchor(tuple(f"{i:032x}:{i}" for i in range(count)), exact)
        for text, (exact, count) in found.items()
    }
    assert anchors_of(anchors_cell(anchors)) == anchors


def test_control_characters_are_refused() -> None:
    with pytest.raises(ValueError, match="not text"):
        row_of(id="c-1", date="", kind="name", who=P1, name="A\nB")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_a_crash(data: bytes) -> None:
    parse(data)
    parse(b"kind,who,with,name\n" + data)
