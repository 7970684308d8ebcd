"""Pages of the report: what one page shows, as plain dataclasses, and its HTML.

A library is untrusted input (names of people and files, reasons, thumbnails may hold anything), and
the pages are opened from disk, where a script could read other files. Hence every text is escaped
by Jinja2, and a content security policy forbids all that is not inside the page itself: pictures
are data URIs, the one style sheet is known by its hash, and there are no scripts.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote_from_bytes

import jinja2
from markupsafe import Markup

from transforms import storage

THUMB_PIXELS = 112
"""The side at which thumbnails are stored, and shown."""

PEOPLE, SEEN_ONCE, UNGROUPED, PROBLEMS = "People", "Seen once", "Ungrouped", "Problems"
"""The parts of a report."""

# Only these are links; `javascript:` and the like never are.
_LINKED_SCHEMES = ("gs", "s3", "hdfs", "azfs", "file")
_SAFE_ID = re.compile(r"[a-z0-9-]{1,80}")
# Marks and overrides of writing direction: in attributes nothing can isolate them.
_DIRECTION = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]+")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


@dataclass(frozen=True)
class Link:
    """Text that leads somewhere; without `href`, where the reader is already."""

    text: str
    href: str | None = None


@dataclass(frozen=True)
class Site:
    """What all pages of a report share: its name, its parts (hrefs from the report's folder) with
    the number of entries in each, and the line at the bottom."""

    title: str
    footer: str
    parts: Sequence[tuple[Link, int]] = ()


@dataclass(frozen=True)
class FaceTile:
    """One face: its thumbnail (None: a placeholder), and the photo it is from.

    `path` is printable text; `href` leads to the photo, None where no link can. `confidence` lies
    in 0..1. `attached` faces were too weak to be grouped and were added afterwards. `person` is a
    name, shown below the picture with `show_person`, which shows the day otherwise.
    """

    face_id: str
    path: str
    href: str | None
    taken: datetime | None
    jpeg: bytes | None
    confidence: float | None = None
    attached: bool = False
    person: str | None = None
    show_person: bool = False

    @property
    def image(self) -> Markup | None:
        return data_uri(self.jpeg)

    @property
    def day(self) -> str:
        return f"{self.taken.day} {_MONTHS[self.taken.month - 1][:3]}" if self.taken else ""

    @property
    def description(self) -> str:
        sure = self.percent and f"confidence {self.percent}"
        return plain(" · ".join(p for p in (self.person, long_date(self.taken), self.path, sure) if p))

    @property
    def percent(self) -> str:
        return "" if self.confidence is None else f"{100 * min(max(self.confidence, 0.0), 1.0):.0f} %"


@dataclass(frozen=True)
class YearOfFaces:
    """Faces of one year (None: undated), `continued` from the page before."""

    year: int | None
    tiles: Sequence[FaceTile]
    continued: bool = False

    @property
    def anchor(self) -> str:
        return f"y{self.year}" if self.year is not None else "undated"

    @property
    def heading(self) -> str:
        return str(self.year) if self.year is not None else "Undated"


@dataclass(frozen=True)
class FacesPage:
    """A page of faces: of a person, or the ungrouped. `root` leads to the report's folder."""

    site: Site
    root: str
    title: str
    years: Sequence[YearOfFaces]
    pages: Sequence[Link] = ()
    facts: Sequence[str] = ()
    note: str | None = None
    back: Link | None = None
    cover: bytes | None = None
    has_cover: bool = False
    jumps: Sequence[Link] = ()
    person_id: str | None = None
    part: str = PEOPLE

    @property
    def cover_image(self) -> Markup | None:
        return data_uri(self.cover)

    @property
    def has_attached(self) -> bool:
        return any(tile.attached for year in self.years for tile in year.tiles)


@dataclass(frozen=True)
class PersonCard:
    """A person on the front page."""

    name: str
    href: str
    anchor: str
    faces: int
    photos: int
    years: str
    jpeg: bytes | None

    @property
    def image(self) -> Markup | None:
        return data_uri(self.jpeg)


@dataclass(frozen=True)
class IndexPage:
    """A page of people, and on the first one the figures and how the grouping was made."""

    site: Site
    cards: Sequence[PersonCard]
    pages: Sequence[Link] = ()
    figures: Sequence[tuple[str, str]] = ()
    method: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    empty: str | None = None
    root: str = ""
    part: str = PEOPLE

    @property
    def title(self) -> str:
        return self.site.title


@dataclass(frozen=True)
class Problem:
    """A photo that could not be read: its printable path, a link, and what is special to it."""

    path: str
    href: str | None
    detail: str = ""


@dataclass(frozen=True)
class ProblemsPage:
    """A page of photos with problems, by reason; `skipped` counts files that are no photographs."""

    site: Site
    reasons: Sequence[tuple[str, Sequence[Problem]]]
    pages: Sequence[Link] = ()
    skipped: Sequence[tuple[str, int]] = field(default=())
    root: str = ""
    title: str = "Photos with problems"
    part: str = PROBLEMS


class PageWriter:
    """Turns page descriptions into HTML files (UTF-8)."""

    def __init__(self) -> None:
        folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates")
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folder),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["number"] = number
        self._templates.filters["plain"] = plain
        with open(os.path.join(folder, "style.css"), encoding="utf-8", newline="\n") as file:
            style = re.sub(r"\s*\n\s*", "\n", file.read()).strip()
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self._templates.globals["style"] = Markup(style)
        self._templates.globals["thumb_pixels"] = THUMB_PIXELS
        self._templates.globals["policy"] = Markup(
            f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
            "base-uri 'none'; form-action 'none'"
        )

    def index(self, page: IndexPage) -> bytes:
        return self._render("index.html", page)

    def faces(self, page: FacesPage) -> bytes:
        return self._render("faces.html", page)

    def problems(self, page: ProblemsPage) -> bytes:
        return self._render("problems.html", page)

    def findings(self, page: Any) -> bytes:
        """A page of `transforms.dedupe_pages`."""
        return self._render("findings.html", page)

    def _render(self, template: str, page: Any) -> bytes:
        text = self._templates.get_template(template).render(page=page, site=page.site, root=page.root)
        return text.encode("utf-8", "backslashreplace")


def data_uri(jpeg: bytes | None) -> Markup | None:
    """A JPEG as a data URI, safe to stand in an attribute; None for what is not a JPEG."""
    if not jpeg or jpeg[:2] != b"\xff\xd8":
        return None
    return Markup("data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii"))


def plain(text: str) -> str:
    """Text on one line that cannot change the direction of what surrounds it."""
    return _CONTROL.sub(" ", _DIRECTION.sub("", text)).strip()


def number(value: int) -> str:
    """1234567 as "1,234,567"."""
    return f"{value:,}"


def counted(value: int, singular: str, plural: str) -> str:
    """A number with its noun."""
    return f"{value:,} {singular if value == 1 else plural}"


def long_date(moment: datetime | None) -> str:
    """As in "12 March 2009, 14:05"; nothing without a date."""
    if moment is None:
        return ""
    day = f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}"
    return f"{day}, {moment.hour:02}:{moment.minute:02}"


def year_range(first: datetime | None, last: datetime | None) -> str:
    """First and last year with an en dash between, one year, or nothing without dates."""
    if first is None or last is None:
        return ""
    return f"{first.year}" if first.year == last.year else f"{first.year}\N{EN DASH}{last.year}"


def by_year(tiles: Sequence[FaceTile], *, continued: bool = False) -> list[YearOfFaces]:
    """Faces, in order, cut where the year changes; `continued`: the first began a page before."""
    years: list[YearOfFaces] = []
    start = 0
    for end in range(1, len(tiles) + 1):
        if end == len(tiles) or _year(tiles[end]) != _year(tiles[start]):
            years.append(YearOfFaces(_year(tiles[start]), tiles[start:end], continued and start == 0))
            start = end
    return years


def _year(tile: FaceTile) -> int | None:
    return tile.taken.year if tile.taken else None


def file_stem(person_id: str) -> str:
    """A file name for a person's pages: the id itself where it is as ids should be, else its hash.

    Two ids never share a name, also where the file system ignores case: an underscore is in no id.
    """
    if _SAFE_ID.fullmatch(person_id):
        return f"person-{person_id}"
    return "person_" + hashlib.sha256(person_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def numbered(stem: str, page: int) -> str:
    """The file name of a page, numbered from 0. A dot is in no stem, so names can't collide."""
    return f"{stem}.html" if page == 0 else f"{stem}.{page + 1}.html"


def page_links(stem: str, page: int, count: int) -> list[Link]:
    """Links to the first, the last and the neighbouring pages; "…" stands for those left out."""
    if count <= 1:
        return []
    shown = sorted({0, count - 1, *range(max(page - 2, 0), min(page + 3, count))})
    links: list[Link] = []
    for previous, i in zip([-1, *shown], shown, strict=False):
        if i - previous == 2:
            links.append(Link(str(i), numbered(stem, i - 1)))
        elif i - previous > 2:
            links.append(Link("…"))
        links.append(Link(str(i + 1), None if i == page else numbered(stem, i)))
    return links


class PhotoLinks:
    """Where photos are, seen from the pages in `folder`.

    `roots` gives each root's location (a path, perhaps with surrogate escapes, or a URL). Local to
    local a link is relative, so that pages which move together with the photos keep their links;
    all bytes that mean something in URLs are percent-encoded.
    """

    def __init__(self, roots: Mapping[str, str], *, folder: str) -> None:
        self._prefixes = {name: _prefix(location, folder) for name, location in roots.items()}

    def to(self, root: str, path: bytes) -> str | None:
        """The link to the photo with these exact bytes as its path below the root; None where
        there can't be one."""
        prefix = self._prefixes.get(root)
        if prefix is None or not path or b".." in path.split(b"/"):
            return None
        return prefix + quote_from_bytes(path, safe="/")


def _prefix(location: str, folder: str) -> str | None:
    if storage.is_url(location):
        scheme, _, rest = location.partition("://")
        if scheme.lower() not in _LINKED_SCHEMES:
            return None
        return f"{scheme}://" + quote_from_bytes(os.fsencode(rest.rstrip("/")) + b"/", safe="/")
    root = os.path.abspath(location)
    if storage.is_url(folder):
        return "file://" + quote_from_bytes(os.fsencode(os.path.join(root, "")), safe="/")
    # By the paths as given, not as resolved: a browser takes ".." from the address it was given.
    relative = os.path.relpath(root, os.path.abspath(folder))
    return quote_from_bytes(os.fsencode(relative) + b"/", safe="/")
