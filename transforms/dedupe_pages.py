"""Pages that show what was found in a crawl, with the faces side by side; they open from disk, hold no
script and reach for nothing outside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from transforms.crawl import CrawlPhotos
from transforms.findings import EXACT_COPY, MISFILED, MIXED, NEAR_COPY, SAME_PERSON, FindingRow
from transforms.pages import Link, PageWriter, Site, data_uri, numbered, page_links

ROWS_PER_PAGE = 100
_HEADINGS = {
    SAME_PERSON: ("Same person", "same-person", "Two identities that are one person."),
    MISFILED: ("Wrong identity", "misfiled", "Photos that show somebody else than their identity."),
    MIXED: ("Mixed", "mixed", "Identities that mix people: the photos of another one."),
    NEAR_COPY: ("Near copies", "near-copies", "Photos that are there again, re-encoded, cut or mirrored."),
    EXACT_COPY: ("Copies", "copies", "Files that are there again, byte for byte."),
}


@dataclass(frozen=True)
class ShownFace:
    """A face beside a finding."""

    image: Markup | None
    title: str


@dataclass(frozen=True)
class ShownFinding:
    """A finding with the faces that it is about, and those to compare them with."""

    left: Sequence[ShownFace]
    right: Sequence[ShownFace]
    identity: str
    other: str
    action: str
    score: str
    path: str
    detail: str


@dataclass(frozen=True)
class FindingsPage:
    """A page of findings of one kind; the first page of all has none and says how many there are."""

    site: Site
    title: str
    note: str
    findings: Sequence[ShownFinding] = ()
    pages: Sequence[Link] = ()
    figures: Sequence[tuple[str, str]] = ()
    part: str = ""
    root: str = ""


def dedupe_pages(
    photos: CrawlPhotos,
    rows: Sequence[FindingRow],
    shown: Sequence[tuple[list[int], list[int]]],
    thumbs: Mapping[int, bytes],
) -> Iterator[tuple[str, bytes]]:
    """(name, HTML) of every page, ``index.html`` last."""
    kinds = {k: [i for i, row in enumerate(rows) if row.finding == k] for k in _HEADINGS}
    parts = [
        (Link(_HEADINGS[k][0], numbered(_HEADINGS[k][1], 0)), len(found))
        for k, found in kinds.items()
        if found
    ]
    site = Site(
        "Findings", "Made by Albumen. These pages show the faces of real people: share them with care.", parts
    )
    writer = PageWriter()

    def faces(numbers: Sequence[int]) -> list[ShownFace]:
        return [ShownFace(data_uri(thumbs.get(n)), photos.path[n]) for n in numbers]

    for kind, found in kinds.items():
        heading, stem, note = _HEADINGS[kind]
        count = -(-len(found) // ROWS_PER_PAGE)
        for number in range(count):
            part = found[number * ROWS_PER_PAGE : (number + 1) * ROWS_PER_PAGE]
            findings = [
                ShownFinding(
                    faces(shown[i][0]), faces(shown[i][1]), rows[i].identity, rows[i].other_identity,
                    rows[i].action, f"{rows[i].score:.2f}", rows[i].path, rows[i].detail,
                )
                for i in part
            ]  # fmt: skip
            page = FindingsPage(site, heading, note, findings, page_links(stem, number, count), part=heading)
            yield numbered(stem, number), writer.findings(page)
    figures = [(f"{len(photos):,}", "photos"), (f"{len(set(photos.label)):,}", "identities")]
    figures += [(f"{n:,}", link.text.lower()) for link, n in parts]
    note = "findings.csv lists all of it; change the column action there, and an export obeys it."
    yield "index.html", writer.findings(FindingsPage(site, "Findings", note, figures=figures))
