from __future__ import annotations

import csv
import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageOps

from pipeline.cli_library import dedupe_lines
from pipeline.dedupe import DedupeSummary, dedupe, find
from pipeline.export import ExportOptions, export
from tests.face_library import read_page
from tests.transforms.test_identities import crowd
from transforms.crawl import CrawlPhotos
from transforms.duplicates import Duplicate, DuplicateLimits, hashes, near_duplicates, photo_groups
from transforms.findings import FindingRow, findings_csv, obeyed, read_findings
from transforms.identities import Limits
from transforms.library import Library, LibraryError, LibraryInfo
from transforms.records import NO_FACE, OK, FaceRow, FileEntry, PhotoRow
from transforms.tables import IDENTITIES_SCHEMA

EVIL = '<img src="x" onerror=alert(1)>'


def thumb(seed: int, *, mirror: bool = False, quality: int = 85) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
    image = Image.fromarray(noise).resize((112, 112), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    (ImageOps.mirror(image) if mirror else image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """A crawl of five identities with every fault; each photo a file with other bytes."""
    archive = tmp_path / "crawl"
    library = Library.create(str(tmp_path / "library"))
    library.save_info(LibraryInfo(roots={"crawl": str(archive)}))
    library.use_fingerprint("test", {"embedder": {"name": "stand-in"}})
    people = crowd(30, 6, spread=0.05)
    photos, faces, vectors, thumbs = [], [], [], []

    def add(
        path: str, person: int, number: int, *, same_as: str | None = None, picture: bytes | None = None
    ) -> None:
        photo = f"{len(photos) if same_as is None else int(same_as):032x}"
        (archive / path).parent.mkdir(parents=True, exist_ok=True)
        (archive / path).write_bytes(photo.encode())
        photos.append(PhotoRow(FileEntry("crawl", path.encode(), 32, 1), OK, None, photo, 100, 100, "JPEG"))
        if same_as is None:
            box = np.array([30, 30, 70, 70], np.float32)
            points = np.zeros((5, 2), np.float32)
            faces.append(FaceRow(f"{photo}:0", photo, box, points, 0.99, 40, 0.3, 0, 0))
            vectors.append(people[person][number])
            thumbs.append(picture or thumb(1000 * person + number))

    for person in range(30):
        for number in range(5):
            label = "p0 again" if person == 0 and number < 2 else f"p{person}"
            add(f"{label}/{number}.jpg", person, number)
    add(f"p1/{EVIL}.jpg", 2, 5)
    add("p3/copy.jpg", 3, 0, same_as="15")
    add("p4/small.jpg", 4, 0, picture=thumb(4000, mirror=True, quality=60))
    library.commit_chunk("chunk", fingerprint="test", photos=photos, faces=faces,
                         embeddings=np.stack(vectors), thumbs=thumbs)  # fmt: skip
    return library


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "findings.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_crawl_is_cleaned(library: Library, tmp_path: Path) -> None:
    out = tmp_path / "found"
    summary = dedupe(library, out=str(out))
    assert isinstance(summary, DedupeSummary) and (summary.photos, summary.identities) == (153, 31)
    found = {(r["finding"], r["action"], r["identity"], r["other_identity"], r["path"]) for r in rows(out)}
    assert found == {
        ("same-person", "merge", "p0 again", "p0", ""),
        ("misfiled", "move", "p1", "p2", f"p1/{EVIL}.jpg"),
        ("exact-copy", "leave-out", "p3", "p3", "p3/copy.jpg"),
        ("near-copy", "leave-out", "p4", "p4", "p4/small.jpg"),
    }
    mirrored = next(r for r in rows(out) if r["finding"] == "near-copy")
    assert "mirrored" in mirrored["detail"] and mirrored["other_path"] == "p4/0.jpg"

    export(library, ExportOptions(to="folders", out=str(tmp_path / "clean"), crawl=str(out)))
    folders = {p.name: len(list(p.iterdir())) for p in (tmp_path / "clean").iterdir() if p.is_dir()}
    assert folders == {"p2": 6} | {f"p{i}": 5 for i in range(30) if i != 2}


def test_a_person_may_decide_otherwise(library: Library, tmp_path: Path) -> None:
    out = tmp_path / "found"
    dedupe(library, out=str(out))
    text = (out / "findings.csv").read_text().replace(",merge,", ",keep,").replace(",move,", ",leave-out,")
    (out / "findings.csv").write_text(text)
    export(library, ExportOptions(to="folders", out=str(tmp_path / "clean"), crawl=str(out)))
    assert (tmp_path / "clean/p0 again").is_dir() and len(os.listdir(tmp_path / "clean/p2")) == 5


def test_a_copy_that_is_kept_and_photos_without_a_face_are_told(library: Library, tmp_path: Path) -> None:
    blank = PhotoRow(FileEntry("crawl", b"p5/blank.jpg", 1, 1), NO_FACE, None, "ff" * 16, 9, 9, "JPEG")
    none = np.zeros((0, 8), np.float32)
    library.commit_chunk("more", fingerprint="test", photos=[blank], faces=[], embeddings=none, thumbs=())
    out = tmp_path / "found"
    assert dedupe(library, out=str(out)).without_face == 1
    text = (out / "findings.csv").read_text().replace(",leave-out,", ",keep,")
    (out / "findings.csv").write_text(text)
    done = export(library, ExportOptions(to="csv", out=str(tmp_path / "csv"), crawl=str(out)))
    assert done.problems == [
        ("p3/copy.jpg", "the same file as p3/0.jpg"), ("p5/blank.jpg", "no face was found in it"),
    ]  # fmt: skip
    assert done.faces == 152, "the near copy is kept"


def test_people_mixed_into_an_identity_get_names_of_their_own(tmp_path: Path) -> None:
    """Two strangers with two photos each under one name, beside an identity whose name is in the way."""
    people = crowd(3, 6, spread=0.05)
    vectors = np.concatenate([people[0], people[1][:2], people[2][:2], people[1][5:]])
    label = ["a"] * 10 + ["a (2)"]
    n = len(label)
    photos = CrawlPhotos(
        ["r"] * n, [f"{i}.jpg" for i in range(n)], [b""] * n, [str(i) for i in range(n)], label,
        np.ones(n, np.int64), np.ones(n, np.int64), np.arange(n), [f"{i}:0" for i in range(n)], vectors,
    )  # fmt: skip
    limits = Limits(belongs=1.1)
    found = [(r.path, r.other_identity) for r in find(photos, [], limits).rows if r.finding == "mixed"]
    assert {other for _, other in found} == {"a (3)", "a (4)"} and len(found) == 4
    assert dict(found)["6.jpg"] == dict(found)["7.jpg"] != dict(found)["8.jpg"]


def test_without_thumbnails_it_says_what_it_cant_tell(library: Library, tmp_path: Path) -> None:
    for thumbs in Path(library.path, "thumbs").iterdir():
        thumbs.unlink()
    summary = dedupe(library, out=str(tmp_path / "found"))
    assert summary.without_thumbnail and "near-copy" not in summary.found
    assert any("no thumbnails" in line for line in dedupe_lines(summary))


def test_pages_show_faces_and_run_nothing(library: Library, tmp_path: Path) -> None:
    dedupe(library, out=str(tmp_path / "found"))
    pages = list((tmp_path / "found").glob("*.html"))
    assert {p.name for p in pages} == {
        "index.html", "same-person.html", "misfiled.html", "near-copies.html", "copies.html",
    }  # fmt: skip
    for path in pages:
        page = read_page(path.read_bytes())
        assert not [tag for tag, _ in page.tags if tag in ("script", "iframe", "object", "form")]
        assert all(src.startswith("data:image/jpeg;base64,") for src in page.values("src"))
        assert all("://" not in href for href in page.values("href"))
        assert any("default-src 'none'" in content for content in page.values("content"))
    misfiled = read_page((tmp_path / "found/misfiled.html").read_bytes())
    assert any(EVIL in text for text in misfiled.texts) and len(misfiled.values("src")) >= 2


def test_labels_may_come_from_a_list(library: Library, tmp_path: Path) -> None:
    lines = ["path,identity"] + [
        f"p{i}/{n}.jpg,{'x' if i < 12 else 'y'}{i}" for i in range(10, 14) for n in range(5)
    ]
    text = "\r\n".join(lines).replace(",", ";")  # as a spreadsheet saves it
    (tmp_path / "labels.csv").write_bytes(text.encode("utf-8-sig"))
    summary = dedupe(library, out=str(tmp_path / "found"), labels=str(tmp_path / "labels.csv"))
    assert (summary.photos, summary.identities, summary.found) == (20, 4, {})
    (tmp_path / "labels.csv").write_text("a,b\n")
    with pytest.raises(LibraryError, match="path and identity"):
        dedupe(library, out=str(tmp_path / "found"), labels=str(tmp_path / "labels.csv"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_list_that_a_spreadsheet_has_saved_is_obeyed(encoding: str, delimiter: str) -> None:
    written = [
        FindingRow("misfiled", 0.5, "move", "p1", "Zoë, B", "r", 'a;b\n"c".jpg', "", "x"),
        FindingRow("same-person", 0.9, "merge", "=a", "b"),
    ]
    rows = list(csv.reader(io.StringIO(findings_csv(written).decode(), newline="")))
    order = [5, 2, 0, 8, 6, 4, 3, 1, 7]  # another order of columns, one of the person's own, an empty line
    turned = [[row[i] for i in order] + [note] for row, note in zip(rows, ("Note", "ok", ""), strict=True)]
    turned[1][1] = " Move "
    turned[1][7] = "0,5"
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator="\r\n").writerows([*turned, [""] * 10])
    assert read_findings(("sep=;\r\n" * (delimiter == ";") + out.getvalue()).encode(encoding)) == [
        FindingRow("misfiled", 0.0, "move", "p1", "Zoë, B", "r", 'a;b\n"c".jpg', "", "x"),
        FindingRow("same-person", 0.0, "merge", "=a", "b"),
    ]


def test_letters_that_are_not_unicode_are_refused_and_not_guessed() -> None:
    data = findings_csv([FindingRow("misfiled", 0, "move", "a", "Zoë", "r", "p.jpg")]).decode()
    with pytest.raises(LibraryError, match=r"findings\.csv, line 2: .*CSV UTF-8"):
        read_findings(data.encode("cp1252"))


def crawl_of(*photos: tuple[str, str]) -> pa.Table:
    rows = [{"identity": i, "root": "r", "path": path} for i, path in photos]
    return pa.Table.from_pylist(rows, schema=IDENTITIES_SCHEMA)


def test_what_a_line_says_of_something_that_is_not_there_stops_the_export() -> None:
    crawl = crawl_of(("a", "a/1.jpg"), ("b", "b/1.jpg"))
    for wrong in (
        FindingRow("", 0, "merge", "A", "b", line=7),
        FindingRow("", 0, "move", "a", "b", "r", "a/2.jpg", line=7),
        FindingRow("", 0, "leave-out", "a", "", "other", "a/1.jpg", line=7),
    ):
        with pytest.raises(LibraryError, match=r"findings\.csv, line 7: there is no"):
            obeyed(crawl, [wrong])
    plain = obeyed(crawl, [FindingRow("", 0, "move", "a", "new one", "", "a/1.jpg")])
    assert plain["identity"].to_pylist() == ["new one", "b"], "a root may be left out, an identity be new"


def test_a_spreadsheet_may_have_taken_the_zeros_of_numbered_identities() -> None:
    crawl = crawl_of(("0000045", "0000045/1.jpg"), ("0000102", "0000102/1.jpg"), ("7", "7/1"), ("07", "07/1"))
    said = [FindingRow("", 0, "merge", "45", "102"), FindingRow("", 0, "merge", "7", "102")]
    assert obeyed(crawl, said)["identity"].to_pylist() == ["0000102", "0000102", "0000102", "07"]


def test_a_new_identity_may_be_merged_as_well() -> None:
    said = [FindingRow("", 0, "merge", "a (2)", "b"), FindingRow("", 0, "move", "a", "a (2)", "r", "a/1")]
    assert obeyed(crawl_of(("a", "a/1"), ("b", "b/1")), said)["identity"].to_pylist() == ["b", "b"]


def test_findings_survive_as_text_and_wrong_lines_are_named() -> None:
    written = [FindingRow("misfiled", 0.5, "move", "=a", "-b", "r", "@p,\n.jpg", "+o", "d")]
    assert read_findings(findings_csv(written)) == [replace(written[0], score=0.0)]
    for line, message in (
        ("x,,explode,a,,,,,", "line 2"),
        ("x,,move,a,,r,p,,", "other_identity"),
        ("x,,leave-out,a,,,,,", "path"),
    ):
        data = findings_csv([]) + line.encode()
        with pytest.raises(LibraryError, match=message):
            read_findings(data)


def test_merges_follow_each_other_and_rings_end() -> None:
    table = crawl_of(*((i, f"{i}.jpg") for i in ("a", "b", "c", "d")))
    chain = [FindingRow("", 0, "merge", "a", "b"), FindingRow("", 0, "merge", "b", "c")]
    assert obeyed(table, chain)["identity"].to_pylist() == ["c", "c", "c", "d"]
    ring = [*chain, FindingRow("", 0, "merge", "c", "a")]
    assert obeyed(table, ring)["identity"].to_pylist() == ["a", "a", "a", "d"]
    moved = [
        FindingRow("", 0, "move", "d", "a", "r", "d.jpg"),
        FindingRow("", 0, "leave-out", "c", "", "r", "c.jpg"),
    ]
    assert obeyed(table, [*chain, *moved])["identity"].to_pylist() == ["c", "c", "c"]


def test_near_duplicates_need_both_picture_and_vector() -> None:
    pictures = {0: thumb(1), 1: thumb(1, quality=40), 2: thumb(2), 3: thumb(1, mirror=True), 4: b"no jpeg"}
    limits = DuplicateLimits(((0.9, 40),))
    pairs = [(0, 1, 0.99), (0, 2, 0.99), (0, 3, 0.95), (1, 3, 0.5), (0, 4, 1.0), (0, 9, 1.0)]
    found = near_duplicates(pairs, pictures, limits)
    assert {(d.left, d.right, d.mirrored) for d in found} == {(0, 1, False), (0, 3, True)}
    assert hashes(b"\xff\xd8 broken") is None


def test_chains_of_copies_are_one_group() -> None:
    pairs = [Duplicate(a, b, 1.0, 0, 1.0, False) for a, b in ((1, 2), (5, 6), (2, 3))]
    assert photo_groups(pairs) == [[1, 2, 3], [5, 6]]
