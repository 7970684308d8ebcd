from __future__ import annotations

import base64
import hashlib
import os
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.face_library import Page, face_jpeg, read_page
from transforms.pages import (
    FacesPage,
    FaceTile,
    IndexPage,
    Link,
    PageWriter,
    PersonCard,
    PhotoLinks,
    Problem,
    ProblemsPage,
    Site,
    YearOfFaces,
    by_year,
    data_uri,
    file_stem,
    long_date,
    numbered,
    page_links,
    plain,
    year_range,
)

WRITER = PageWriter()
JPEG = face_jpeg(1)
HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "' onmouseover='alert(1)",
    "--></style><style>*{display:none}</style>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt; &amp;",
    "two\nlines\tand \x00 nul",
    "\u202egpj.exe",
]
texts = st.sampled_from(HOSTILE) | st.text(max_size=30)


def site(text: str = "Photos") -> Site:
    return Site(title=text, footer=text, parts=[(Link("People", "index.html"), 3)])


def tile(text: str = "a.jpg", *, taken: datetime | None = None, jpeg: bytes | None = JPEG) -> FaceTile:
    return FaceTile(text, text, "../a.jpg", taken, jpeg, 0.9, True, text, True)


def faces_page(text: str = "Anna") -> FacesPage:
    return FacesPage(
        site=site(text),
        root="../",
        title=text,
        years=[YearOfFaces(2009, [tile(text, taken=datetime(2009, 3, 12, 14, 5)), tile(text, jpeg=None)])],
        facts=[text],
        note=text,
        back=Link(text, "../index.html"),
        has_cover=True,
        cover=JPEG,
        person_id=text,
    )


def index_page(text: str = "Anna") -> IndexPage:
    card = PersonCard(text, "people/person-1.html", "person-1", 3, 2, "2009", JPEG)
    return IndexPage(
        site=site(text),
        cards=[card, replace(card, jpeg=None)],
        figures=[(text, text)],
        method=[(text, text)],
        notes=[text],
        empty=text,
    )


def problems_page(text: str = "empty file") -> ProblemsPage:
    return ProblemsPage(
        site=site(text), reasons=[(text, [Problem(text, "a.jpg", text)])], skipped=[(text, 2)]
    )


def all_pages(text: str) -> list[Page]:
    index, faces, problems = index_page(text), faces_page(text), problems_page(text)
    htmls = WRITER.index(index), WRITER.faces(faces), WRITER.problems(problems)
    return [read_page(html) for html in htmls]


SKELETONS = [[(tag, sorted(attributes)) for tag, attributes in page.tags] for page in all_pages("harmless")]


@given(texts.filter(plain))
def test_no_text_adds_a_tag_or_an_attribute(text: str) -> None:
    skeletons = [[(tag, sorted(attributes)) for tag, attributes in page.tags] for page in all_pages(text)]
    assert skeletons == SKELETONS


@pytest.mark.parametrize("text", HOSTILE)
def test_names_are_shown_as_they_are_but_for_controls(text: str) -> None:
    page = read_page(WRITER.faces(faces_page(text)))
    heading = read_page(re.search(rb"<h1>.*</h1>", WRITER.faces(faces_page(text)), re.S)[0])  # type: ignore[index]
    assert [tag for tag, _ in heading.tags] == ["h1", "bdi"]
    assert "".join(heading.texts) == plain(text)
    assert plain(text) in page.values("alt", "img")[1]


def test_plain_text_has_no_controls_and_no_marks_of_direction_but_keeps_joiners() -> None:
    assert plain("a\u202eb\u2066c\nd\x00e\ud800f") == "abc d e f"
    family = "\U0001f469\u200d\U0001f467"
    assert plain(family) == family


def test_a_page_loads_nothing_and_runs_nothing() -> None:
    for html in (WRITER.index(index_page()), WRITER.faces(faces_page()), WRITER.problems(problems_page())):
        parsed = read_page(html)
        assert all(src.startswith("data:image/jpeg;base64,") for src in parsed.values("src"))
        assert {tag for tag, _ in parsed.tags}.isdisjoint({"script", "link", "iframe", "object", "form"})
        assert b"http:" not in html and b"https:" not in html and b"url(" not in html


def test_the_policy_allows_the_style_sheet_of_the_page_alone() -> None:
    html = WRITER.index(index_page()).decode()
    policy = next(a["content"] for t, a in read_page(html.encode()).tags if "http-equiv" in a)
    style = html.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert all("style" not in attributes for _, attributes in read_page(html.encode()).tags)


def test_only_jpegs_become_pictures() -> None:
    assert data_uri(JPEG) == "data:image/jpeg;base64," + base64.b64encode(JPEG).decode()
    for other in (None, b"", b"\xff", b"<svg onload='alert(1)'/>", b"\x89PNG\r\n"):
        assert data_uri(other) is None


def test_a_face_without_thumbnail_has_a_placeholder_that_says_what_it_stands_for() -> None:
    page = read_page(WRITER.faces(faces_page("Anna")))
    blank = [a for _, a in page.tags if a.get("class") == "blank"]
    assert [a["role"] for a in blank] == ["img"]
    assert "Anna" in blank[0]["aria-label"]


def test_pictures_say_when_and_where_from() -> None:
    page = read_page(WRITER.faces(faces_page("Anna")))
    assert "Anna · 12 March 2009, 14:05 · Anna · confidence 90 %" in page.values("alt", "img")
    assert page.values("loading", "img") == ["lazy"]


def test_the_current_part_is_marked() -> None:
    current = [a for t, a in read_page(WRITER.index(index_page())).tags if t == "a" and "aria-current" in a]
    assert [a["href"] for a in current] == ["index.html"]


@given(st.lists(st.sampled_from([None, 2008, 2009, 2011]), max_size=12), st.booleans())
def test_years_hold_every_face_once_and_in_order(years: list[int | None], continued: bool) -> None:
    years.sort(key=lambda y: y or 9999)
    tiles = [tile(str(i), taken=datetime(y, 1, 1) if y else None) for i, y in enumerate(years)]
    groups = by_year(tiles, continued=continued)
    assert [t for group in groups for t in group.tiles] == tiles
    assert [g.year for g in groups] == list(dict.fromkeys(years))
    assert [g.continued for g in groups] == [continued and i == 0 for i in range(len(groups))]


@given(st.integers(1, 60), st.data())
def test_page_links_reach_the_first_the_last_and_the_neighbours(count: int, data: st.DataObject) -> None:
    page = data.draw(st.integers(0, count - 1))
    links = page_links("index", page, count)
    if count == 1:
        assert links == []
        return
    numbers = [int(link.text) for link in links if link.text != "…"]
    assert numbers == sorted(set(numbers))
    wanted = {1, count, *(n for n in range(page, page + 3) if 1 <= n <= count)}
    assert wanted <= set(numbers)
    assert len(links) <= 11
    assert [link.text for link in links if link.href is None and link.text != "…"] == [str(page + 1)]
    hrefs = {link.href for link in links if link.href}
    assert hrefs == {numbered("index", n - 1) for n in numbers if n != page + 1}


@given(st.lists(st.text(alphabet="ab-0129_./\\\x00é", max_size=12), unique=True, max_size=20))
def test_file_names_of_people_are_safe_and_never_collide(ids: list[str]) -> None:
    names = [numbered(file_stem(i), page) for i in ids for page in range(3)]
    assert len({name.lower() for name in names}) == len(names)
    assert all(re.fullmatch(r"person[-_][a-z0-9-]+(\.[0-9]+)?\.html", name) for name in names)


def test_a_usual_id_is_readable_in_the_file_name() -> None:
    assert file_stem("p-12") == "person-p-12"
    assert len(file_stem("a" * 5000)) < 60


names = st.binary(min_size=1, max_size=20).filter(lambda n: b"/" not in n and b"\0" not in n)


@given(st.lists(names, min_size=1, max_size=3))
def test_a_link_leads_back_to_the_exact_bytes(parts: list[bytes]) -> None:
    path = b"/".join(parts)
    links = PhotoLinks({"a": "/mnt/My #1 photos?"}, folder="/mnt/library/report/people")
    href = links.to("a", path)
    if b".." in parts:
        assert href is None
        return
    assert href is not None and href.isascii() and not set(href) & set(' "#?<>&\\:')
    joined = os.path.join(b"/mnt/library/report/people", unquote_to_bytes(href))
    assert os.path.normpath(joined) == os.path.normpath(b"/mnt/My #1 photos?/" + path)


@pytest.mark.parametrize(
    ("location", "folder", "href"),
    [
        ("gs://bucket/photos/", "/lib/report", "gs://bucket/photos/a%20b.jpg"),
        ("s3://bucket", "gs://bucket/lib/report", "s3://bucket/a%20b.jpg"),
        ("/mnt/photos", "gs://bucket/lib/report", "file:///mnt/photos/a%20b.jpg"),
        ("/mnt/photos", "/mnt/lib/report", "../../photos/a%20b.jpg"),
        ("/mnt/caf\udce9", "/mnt/lib", "../caf%E9/a%20b.jpg"),
        ("javascript://%0aalert(1)", "/lib/report", None),
        ("data://text/html,x", "/lib/report", None),
    ],
)
def test_links_to_local_and_remote_roots(location: str, folder: str, href: str | None) -> None:
    assert PhotoLinks({"a": location}, folder=folder).to("a", b"a b.jpg") == href


def test_no_link_to_an_unknown_root_or_out_of_a_root() -> None:
    links = PhotoLinks({"a": "/photos"}, folder="/lib")
    assert links.to("b", b"x.jpg") is None
    assert links.to("a", b"../../etc/passwd") is None
    assert links.to("a", b"") is None


def test_relative_locations_are_taken_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert PhotoLinks({"a": "photos"}, folder="lib/report").to("a", b"x.jpg") == "../../photos/x.jpg"


def test_dates_in_words() -> None:
    assert long_date(datetime(2009, 3, 2, 4, 5)) == "2 March 2009, 04:05"
    assert long_date(None) == ""
    assert year_range(datetime(2009, 1, 1), datetime(2024, 1, 1)) == "2009\N{EN DASH}2024"
    assert year_range(datetime(2009, 1, 1), datetime(2009, 5, 1)) == "2009"
    assert year_range(None, None) == ""


@pytest.mark.parametrize(("confidence", "text"), [(None, ""), (0.874, "87 %"), (1.7, "100 %"), (-1.0, "0 %")])
def test_confidence_in_percent(confidence: float | None, text: str) -> None:
    assert replace(tile(), confidence=confidence).percent == text
