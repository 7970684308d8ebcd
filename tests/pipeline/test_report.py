from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest

from pipeline.group_parameters import parameters
from pipeline.report import ReportSummary, method_rows, write_report
from tests.face_library import ROOT, FaceLibrary, Page, Person, Picture, face_jpeg, read_page
from tests.memory_filesystem import MemoryFileSystem
from transforms import album_pages, thumb_sort
from transforms.library import Library, LibraryError
from transforms.pages import PageWriter, data_uri
from transforms.people import Rules
from transforms.records import ERROR, NO_FACE, SKIPPED

HOSTILE = "<script>alert(1)</script>\" onload='x'\n\u202egpj"
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "nav", "main", "footer", "section", "div"),
    *("h1", "h2", "p", "a", "ul", "li", "span", "bdi", "dl", "dt", "dd", "img", "details", "summary"),
}
ODD_NAMES = [
    b"plain.jpg",
    b"with space.jpg",
    b"50% #1?.jpg",
    b"caf\xe9 (latin1).jpg",
    "Grüße/日本.jpg".encode(),
    b"a:b&c;d=e+f.jpg",
    b"<img src=x onerror=alert(1)>.jpg",
    b"\"quoted\" 'twice'.jpg",
    b"line\nbreak.jpg",
    b"back\\slash.jpg",
]


@pytest.fixture(autouse=True)
def _no_files_in_memory() -> Iterator[None]:
    MemoryFileSystem.clear()
    yield
    MemoryFileSystem.clear()


@pytest.fixture
def shelf(tmp_path: Path) -> FaceLibrary:
    return FaceLibrary(tmp_path / "library", {ROOT: str(tmp_path / "My #1 photos")})


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages and buckets small enough for a few faces to need several."""
    monkeypatch.setattr(album_pages, "FACES_PER_PAGE", 3)
    monkeypatch.setattr(album_pages, "CARDS_PER_PAGE", 2)
    monkeypatch.setattr(album_pages, "PROBLEMS_PER_PAGE", 2)
    monkeypatch.setattr(thumb_sort, "BUCKET_FACES", 4)


def pages_in(folder: Path) -> dict[str, Page]:
    return {str(p.relative_to(folder)): read_page(p.read_bytes()) for p in sorted(folder.rglob("*.html"))}


def report_of(library: Library) -> dict[str, Page]:
    write_report(library)
    return pages_in(Path(library.path) / "report")


def fill(shelf: FaceLibrary) -> Library:
    """Four people in 12 photos, ungrouped faces, people seen once, problems."""
    start = datetime(2009, 11, 1)
    shelf.add(
        *[
            Picture(b"%d.jpg" % i, [f"p{1 + i % 4}", "p1" if i % 4 else None], start + timedelta(days=20 * i))
            for i in range(12)
        ]
    )
    shelf.add(Picture(b"x.jpg", ["p5", "p6", None, "p7"]), Picture(b"none.jpg", status=NO_FACE))
    shelf.add(*[Picture(b"bad%d.jpg" % i, status=ERROR, reason="truncated: file ends") for i in range(3)])
    shelf.add(Picture(b"a.mov", status=SKIPPED, reason="video"))
    return shelf.group(Person("p2", "Anna"), Person("p6", "Ben"))


@pytest.mark.usefixtures("small_pages")
def test_every_face_is_shown_once_with_its_own_thumbnail(shelf: FaceLibrary) -> None:
    library = fill(shelf)
    pages = report_of(library)
    shown = Counter(face for page in pages.values() for face in page.values("data-face"))
    assert shown == Counter(face for face, *_ in shelf.assigned)
    for page in pages.values():
        tags = page.tags
        for (tag, li), following in zip(tags, range(1, len(tags) + 1), strict=True):
            if tag == "li" and "data-face" in li:
                image = next(a for t, a in tags[following:] if t == "img")
                number, _, k = li["data-face"].removeprefix("content").partition(":")
                assert image["src"] == data_uri(face_jpeg(int(number), int(k)))


@pytest.mark.usefixtures("small_pages")
def test_the_cover_is_on_the_card_and_on_every_page_of_the_person(shelf: FaceLibrary) -> None:
    shelf.add(*[Picture(b"%d.jpg" % i, ["p1"]) for i in range(7)])
    pages = report_of(shelf.group(Person("p1", cover="content5:0")))
    cover = data_uri(face_jpeg(5, 0))
    names = ["index.html", *(f"people/person-p1{number}.html" for number in ("", ".2", ".3"))]
    assert sorted(pages) == sorted(names)
    assert [pages[name].values("src")[0] for name in names] == [cover] * 4


@pytest.mark.usefixtures("small_pages")
def test_the_summary_says_what_is_on_the_pages(shelf: FaceLibrary) -> None:
    library = fill(shelf)
    summary = write_report(library)
    assert summary == ReportSummary(
        index=os.path.join(library.path, "report", "index.html"),
        revision="r000001",
        photos=14,
        faces=28,
        people=7,
        ungrouped=4,
        errors=3,
        faces_without_thumb=0,
        pages=len(pages_in(Path(library.path) / "report")),
        bytes=sum(p.stat().st_size for p in (Path(library.path) / "report").rglob("*") if p.is_file()),
        seconds=summary.seconds,
    )
    assert summary.seconds > 0
    index = read_page(Path(summary.index).read_bytes())
    figures = [
        "14",
        "photos",
        "28",
        "faces",
        "7",
        "people",
        "4",
        "faces ungrouped",
        "3",
        "photos with problems",
    ]
    start = index.texts.index("14")
    assert index.texts[start : start + 10] == figures


@pytest.mark.usefixtures("small_pages")
def test_every_page_is_reached_from_the_front_page_and_every_link_between_pages_holds(
    shelf: FaceLibrary,
) -> None:
    library = fill(shelf)
    pages = report_of(library)
    reached, waiting = set(), ["index.html"]
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        for href in pages[name].values("href", "a"):
            target, _, anchor = href.partition("#")
            path = os.path.normpath(os.path.join(os.path.dirname(name), target)) if target else name
            if path.endswith(".html"):
                assert path in pages, f"{name} leads to {path}"
                assert not anchor or anchor in pages[path].values("id"), f"{name} leads to {href}"
                waiting.append(path)
    assert reached == set(pages)


@pytest.mark.usefixtures("small_pages")
def test_people_come_largest_first_over_several_front_pages(shelf: FaceLibrary) -> None:
    pages = report_of(fill(shelf))
    cards = [href for name in ("index.html", "index.2.html", "index.3.html") for href in
             pages[name].values("href", "a") if href.startswith("people/")]  # fmt: skip
    assert cards == [f"people/person-p{i}.html" for i in (1, 2, 3, 4, 6)]
    assert "Anna" in pages["index.html"].texts and "Ben" in pages["index.3.html"].texts
    assert "people/person-p1.4.html" in pages and "people/person-p1.5.html" not in pages
    once = pages["seen-once.html"]
    assert once.values("data-face") == ["content12:0", "content12:3"]
    assert {"Person 5", "Person 7"} <= set(once.texts)


@pytest.mark.usefixtures("small_pages")
def test_a_person_is_shown_by_years_that_continue_on_the_next_page(shelf: FaceLibrary) -> None:
    pages = report_of(fill(shelf))
    first, second = pages["people/person-p1.html"], pages["people/person-p1.2.html"]
    assert first.values("id", "h2") == ["y2009"]
    assert second.values("id", "h2") == ["y2009", "y2010"]
    assert "continued" in second.texts and "continued" not in first.texts
    jumps = ["person-p1.html#y2009", "person-p1.2.html#y2010"]
    assert [href for href in second.values("href") if "#y" in href] == jumps


def test_links_lead_to_the_photos_whatever_their_names(shelf: FaceLibrary, tmp_path: Path) -> None:
    photos = os.fsencode(tmp_path / "My #1 photos")
    for name in ODD_NAMES:
        os.makedirs(os.path.dirname(os.path.join(photos, name)), exist_ok=True)
        with open(os.path.join(photos, name), "wb") as file:
            file.write(name)
    shelf.add(*[Picture(name, ["p1", None]) for name in ODD_NAMES])
    shelf.add(Picture(ODD_NAMES[0] + b"x", status=ERROR, reason="empty"))
    library = shelf.group()
    pages = report_of(library)
    for page in ("people/person-p1.html", "ungrouped.html"):
        folder = os.path.dirname(os.path.join(library.path, "report", page))
        linked = [a["href"] for t, a in pages[page].tags if t == "a" and a.get("target") == "_blank"]
        read = [
            Path(os.fsdecode(os.path.join(os.fsencode(folder), unquote_to_bytes(href)))).read_bytes()
            for href in linked
        ]
        assert sorted(read) == sorted(ODD_NAMES)


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    shelf = FaceLibrary(tmp_path / "library", {HOSTILE: str(tmp_path / "photos")})
    shelf.add(
        *[Picture(HOSTILE.encode() + b"%d.jpg" % i, [HOSTILE, "q", None], root=HOSTILE) for i in range(2)],
        Picture(b"once.jpg", ["once"], root=HOSTILE),
        Picture(HOSTILE.encode(), status=ERROR, reason=f"{HOSTILE}: {HOSTILE}", root=HOSTILE),
        Picture(b"v", status=SKIPPED, reason=HOSTILE, root=HOSTILE),
    )
    library = shelf.group(Person(HOSTILE, HOSTILE), grouping={HOSTILE: {HOSTILE: HOSTILE}})
    pages = report_of(library)
    assert len(pages) == 6
    for name, page in pages.items():
        assert {tag for tag, _ in page.tags} <= TAGS, name
        assert not [
            a for _, attributes in page.tags for a in attributes if a.startswith("on") or a == "style"
        ]
        assert "\u202e" not in "".join([*page.texts, *page.values("alt"), *page.values("title")])
        assert not {href.partition(":")[0] for href in page.values("href") if ":" in href}
    assert [name for name in pages if name.startswith("people/person_")]


def test_the_pages_need_nothing_from_elsewhere(shelf: FaceLibrary) -> None:
    library = fill(shelf)
    write_report(library)
    for path in (Path(library.path) / "report").rglob("*.html"):
        html = path.read_bytes()
        assert b"http://" not in html and b"https://" not in html
        assert all(src.startswith("data:image/jpeg;base64,") for src in read_page(html).values("src"))


def test_pages_of_people_who_are_gone_vanish(shelf: FaceLibrary) -> None:
    library = fill(shelf)
    assert "people/person-p4.html" in report_of(library)
    shelf.assigned = [("content0:0", "p9", 0.5, "core", "cluster")]
    pages = report_of(shelf.group())
    assert [name for name in pages if name.startswith("people/")] == ["people/person-p9.html"]


def test_a_crash_leaves_the_old_report(shelf: FaceLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    library = fill(shelf)
    write_report(library)
    report = Path(library.path) / "report"
    before = {p: p.read_bytes() for p in report.rglob("*.html")}

    def crash(self: PageWriter, page: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(PageWriter, "index", crash)
    with pytest.raises(MemoryError):
        write_report(library)
    assert {p: p.read_bytes() for p in report.rglob("*.html")} == before
    assert [name for name in os.listdir(library.path) if name.startswith("report")] == ["report"]


def test_a_full_disk_is_reported_with_what_to_do(shelf: FaceLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    library = fill(shelf)

    def full(self: PageWriter, page: object) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(PageWriter, "faces", full)
    with pytest.raises(LibraryError, match=r"No space left.*MB free"):
        write_report(library)


def test_a_report_can_go_to_another_folder(shelf: FaceLibrary, tmp_path: Path) -> None:
    library = fill(shelf)
    summary = write_report(library, out=str(tmp_path / "elsewhere" / "album"))
    assert summary.index == str(tmp_path / "elsewhere" / "album" / "index.html")
    assert Path(summary.index).exists()
    assert not os.path.exists(library.file("report"))
    with pytest.raises(LibraryError, match="not an Albumen report"):
        write_report(library, out=library.path)


def test_a_report_on_a_url_ends_with_its_front_page(
    shelf: FaceLibrary, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    library = fill(shelf)
    written: list[str] = []
    put = MemoryFileSystem.put

    def noting(url: str, content: bytes = b"", *, modified: float | None = None) -> None:
        written.append(url)
        put(url, content, modified=modified)

    monkeypatch.setattr(MemoryFileSystem, "put", noting)
    write_report(library, out="testmem://bucket/report")
    # What says that the report is complete and current comes after all of it.
    assert written[-2:] == [f"testmem://bucket/report/{n}" for n in ("index.html", ".albumen-state")]
    html = MemoryFileSystem.files["testmem://bucket/report/people/person-p3.html"][0]
    linked = [a["href"] for t, a in read_page(html).tags if a.get("target") == "_blank"]
    assert all(href.startswith(tmp_path.as_uri() + "/My%20%231%20photos/") for href in linked)


def test_a_library_that_was_never_grouped_says_what_to_do(shelf: FaceLibrary) -> None:
    shelf.add(Picture(b"a.jpg", [None]))
    with pytest.raises(LibraryError, match="albumen group "):
        write_report(shelf.library)


@pytest.mark.parametrize(
    ("pictures", "text"),
    [
        ([], "There are no photographs in this library yet."),
        ([Picture(b"a.jpg", status=NO_FACE)], "No faces were found in 1 photo."),
        ([Picture(b"a.jpg", [None])], "Nobody was recognised twice"),
    ],
)
def test_a_library_without_people_has_a_friendly_page(
    shelf: FaceLibrary, pictures: list[Picture], text: str
) -> None:
    shelf.add(*pictures)
    index = report_of(shelf.group())["index.html"]
    assert any(shown.startswith(text) for shown in index.texts)


def test_without_thumbnails_there_are_placeholders_and_a_note(shelf: FaceLibrary) -> None:
    shelf.add(Picture(b"a.jpg", ["p1"]), Picture(b"b.jpg", ["p1"]), thumbs=False)
    library = shelf.group()
    assert write_report(library).faces_without_thumb == 2
    pages = pages_in(Path(library.path) / "report")
    assert [page.values("src") for page in pages.values()] == [[], []]
    assert len([a for a in pages["people/person-p1.html"].values("class") if a == "blank"]) == 2
    assert any("without thumbnails" in text for text in pages["index.html"].texts)


def test_a_thumbnail_that_is_no_jpeg_is_not_shown(shelf: FaceLibrary) -> None:
    shelf.add(Picture(b"a.jpg", ["p1"]), Picture(b"b.jpg", ["p1"]), jpeg=b"<svg onload='alert(1)'/>")
    pages = report_of(shelf.group())
    assert [page.values("src") for page in pages.values()] == [[], []]


def test_photos_with_problems_are_listed_by_reason(shelf: FaceLibrary) -> None:
    shelf.add(
        Picture(b"b.jpg", status=ERROR, reason="truncated: 10 of 20 bytes"),
        Picture(b"a.jpg", status=ERROR, reason="empty file"),
        Picture(b"c.jpg", status=ERROR, reason="truncated: 5 of 20 bytes"),
        Picture(b"d.mov", status=SKIPPED, reason="video"),
    )
    page = report_of(shelf.group())["problems.html"]
    start = page.texts.index("empty file")
    assert page.texts[start : start + 7] == [
        "empty file", "a.jpg", "truncated", "b.jpg", "10 of 20 bytes", "c.jpg", "5 of 20 bytes",
    ]  # fmt: skip
    assert page.texts[page.texts.index("video") + 1] == "1 file"


def test_faces_indexed_after_the_grouping_are_announced(shelf: FaceLibrary) -> None:
    shelf.add(Picture(b"a.jpg", ["p1"]))
    library = shelf.group()
    shelf.add(Picture(b"b.jpg", ["p1"]))
    texts = report_of(library)["index.html"].texts
    assert any(text.startswith("1 face was added since the grouping") for text in texts)


@pytest.mark.usefixtures("small_pages")
def test_progress_ends_at_all_faces_and_all_pages(shelf: FaceLibrary) -> None:
    told: dict[str, tuple[int, int]] = {}
    write_report(fill(shelf), progress=lambda step, done, total: told.__setitem__(step, (done, total)))
    assert told["thumbnails"] == (28, 28)
    assert told["pages"][0] == told["pages"][1] > 1


def test_the_grouping_is_described_in_rows_that_fit() -> None:
    grouping = {
        "method": "graph",
        "parameters": {"threshold": 0.81234567, "same_photo": True, "deep": {"er": {"still": 1}}},
        "vector": [0.1] * 512,
        "sizes": [1, 2],
        "nothing": None,
        "text": "x" * 1000,
    }
    assert list(method_rows(grouping)) == [
        ("method", "graph"),
        ("parameters · threshold", "0.812346"),
        ("parameters · same photo", "yes"),
        ("parameters · deep · er", "{'still': 1}"),
        ("vector", "512 values"),
        ("sizes", "[1, 2]"),
        ("text", "x" * 200),
    ]
    assert len(list(method_rows({str(i): i for i in range(1000)}))) == 60


def test_the_start_page_says_first_how_people_were_grouped_and_nothing_of_the_corrections(
    shelf: FaceLibrary,
) -> None:
    fill(shelf)
    grouping: dict[str, object] = {
        "revision": "r000001",
        "people": 7,
        "named_by_corrections": {f"p{i}": f"secret {i}" for i in range(100)},
        "problems": ["line 3: nobody is called Zoe"],
        "centre": [0.5] * 512,
        "seed": 11,
        "method": "hdbscan",
        "threshold": 0.637467,
        "ran": "hdbscan, 12 <connected> components",
        "calibration": "LFW",
        "cohort": 256,
        "weak_limits": {"size": 40.0, "sharpness": 0.085},
        "parameters": parameters("hdbscan", Rules()),
    }
    library = shelf.group(grouping=grouping)
    write_report(library)
    html = (Path(library.path) / "report" / "index.html").read_text()
    assert "How the faces were grouped" in html and "<connected>" not in html
    texts = read_page(html.encode()).texts
    start = texts.index("How the faces were grouped")
    rows = dict(zip(texts[start + 1 :: 2], texts[start + 2 :: 2], strict=False))
    assert list(rows)[:3] == ["method", "ran", "threshold"]
    wanted = {
        "method": "hdbscan", "ran": "hdbscan, 12 <connected> components", "threshold": "0.637467",
        "parameters · neighbours": "48", "parameters · hdbscan · min cluster size": "2",
        "parameters · hdbscan · too near": "0.12", "weak limits · sharpness": "0.085", "seed": "11",
        "calibration": "LFW", "cohort": "256", "revision": "r000001", "people": "7",
    }  # fmt: skip
    assert {name: rows[name] for name in wanted} == wanted
    assert "secret" not in html and "nobody is called" not in html
