"""Lays an album out on the pages of a report: which faces are on which page, and what each shows."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from itertools import groupby

import numpy as np
import pyarrow as pa

from transforms import storage
from transforms.album import Album, PhotoStates
from transforms.pages import (
    PEOPLE,
    PROBLEMS,
    SEEN_ONCE,
    UNGROUPED,
    FacesPage,
    FaceTile,
    IndexPage,
    Link,
    PersonCard,
    PhotoLinks,
    Problem,
    ProblemsPage,
    Site,
    by_year,
    counted,
    file_stem,
    numbered,
    page_links,
    year_range,
)
from transforms.records import printable
from transforms.tables import PATH_BYTES, REASON, ROOT
from transforms.thumb_sort import Placements

CARDS_PER_PAGE = 120
FACES_PER_PAGE = 200
PROBLEMS_PER_PAGE = 500
PEOPLE_FOLDER = "people"

_INDEX, _ONCE, _UNGROUPED, _PROBLEMS = "index", "seen-once", "ungrouped", "problems"
_NUMBERED_ID = re.compile(r"[a-z-]*?0*([0-9]{1,9})")


@dataclass(frozen=True)
class _Section:
    """Faces that are shown together, over as many pages as it takes. `person` is None for a
    section of many people."""

    part: str
    stem: str
    faces: np.ndarray
    years: np.ndarray
    person: int | None = None

    @property
    def page_count(self) -> int:
        return math.ceil(len(self.faces) / FACES_PER_PAGE)

    @cached_property
    def jumps(self) -> list[Link]:
        """A link to the first face of each year, where there are several years."""
        years, first = np.unique(self.years, return_index=True)
        if len(years) < 2:
            return []
        links = []
        for year, position in sorted(zip(years.tolist(), first.tolist(), strict=True), key=lambda y: y[1]):
            text, anchor = ("Undated", "undated") if year == _UNDATED else (str(year), f"y{year}")
            links.append(Link(text, f"{numbered(self.stem, position // FACES_PER_PAGE)}#{anchor}"))
        return links


_UNDATED = np.iinfo(np.int64).max


class AlbumPages:
    """The pages of one album. Pages with faces are numbered from 0, the front page is the last.

    Every face is on exactly one page of faces. People have pages of their own, but those without
    a name who are in a single photo share pages: a library may have as many of them as all others
    together, and a page with one picture says nothing that the picture doesn't.
    """

    def __init__(
        self, album: Album, states: PhotoStates, *, site: Site, roots: dict[str, str], folder: str
    ) -> None:
        self._album, self._states = album, states
        self._roots = roots
        self._links = PhotoLinks(roots, folder=folder)
        self._people_links = PhotoLinks(roots, folder=storage.join(folder, PEOPLE_FOLDER))
        self._titles = person_titles(album.people.ids.to_pylist(), album.people.names.to_pylist())
        self._years = _years(album)
        once = seen_once(album)
        self._cards = np.flatnonzero(~once)
        self._stems = {int(i): file_stem(str(album.people.ids[int(i)])) for i in self._cards}
        self._sections = [s for s in self._make_sections(once) if len(s.faces)]
        self._first_pages = np.cumsum([0, *(s.page_count for s in self._sections)])
        self._index_pages = max(1, math.ceil(len(self._cards) / CARDS_PER_PAGE))
        self._site = replace(site, parts=self._parts(once))

    def _make_sections(self, once: np.ndarray) -> Iterator[_Section]:
        album = self._album
        for i in self._cards:
            faces = album.order[album.starts[i] : album.starts[i + 1]]
            yield _Section(PEOPLE, self._stems[int(i)], faces, self._years[faces], int(i))
        count = len(album.people)
        grouped = album.order[: album.starts[count]]
        single = grouped[once[album.person[grouped]]] if count else grouped
        single = single[np.lexsort([album.photo[single], _times(album, single)])]
        yield _Section(SEEN_ONCE, _ONCE, single, self._years[single])
        rest = album.order[album.starts[count] :]
        yield _Section(UNGROUPED, _UNGROUPED, rest, self._years[rest])

    def _parts(self, once: np.ndarray) -> list[tuple[Link, int]]:
        faces = {section.part: len(section.faces) for section in self._sections}
        parts = [(Link(PEOPLE, numbered(_INDEX, 0)), len(self._cards))]
        if SEEN_ONCE in faces:
            parts.append((Link(SEEN_ONCE, numbered(_ONCE, 0)), int(once.sum())))
        if UNGROUPED in faces:
            parts.append((Link(UNGROUPED, numbered(_UNGROUPED, 0)), faces[UNGROUPED]))
        if self.problem_pages:
            parts.append((Link(PROBLEMS, numbered(_PROBLEMS, 0)), len(self._states.errors)))
        return parts

    @property
    def count(self) -> int:
        """Pages with faces, the front pages among them."""
        return int(self._first_pages[-1]) + self._index_pages

    @property
    def problem_pages(self) -> int:
        """Pages of photos with problems."""
        pages = math.ceil(len(self._states.errors) / PROBLEMS_PER_PAGE)
        return pages or (1 if self._states.skipped else 0)

    def placements(self) -> Placements:
        """Which face's thumbnail is needed on which page: on its own, on each page of a person
        that it stands for, and on the front page."""
        faces, pages = [], []
        covers = self._album.people.covers
        for first, section in zip(self._first_pages, self._sections, strict=False):
            own = first + np.arange(len(section.faces)) // FACES_PER_PAGE
            faces.append(section.faces)
            pages.append(own)
            if section.person is not None:
                faces.append(np.full(section.page_count, covers[section.person]))
                pages.append(first + np.arange(section.page_count))
        faces.append(covers[self._cards])
        pages.append(self.count - 1 - np.arange(len(self._cards)) // CARDS_PER_PAGE)
        pairs = np.unique(np.stack([np.concatenate(faces), np.concatenate(pages)]).astype(np.int64), axis=1)
        return Placements(face=pairs[0], page=pairs[1])

    def index_number(self, page: int) -> int | None:
        """The number among the front pages, from 0; None for a page of faces."""
        return self.count - 1 - page if page >= self._first_pages[-1] else None

    def faces_page(self, page: int, thumbs: dict[int, bytes]) -> tuple[str, FacesPage]:
        """The file name and the content of a page of faces, given the thumbnails for it."""
        which = int(np.searchsorted(self._first_pages, page, side="right")) - 1
        section, local = self._sections[which], page - int(self._first_pages[which])
        start = local * FACES_PER_PAGE
        tiles = self._tiles(section, section.faces[start : start + FACES_PER_PAGE], thumbs)
        continued = start > 0 and section.years[start - 1] == section.years[start]
        pages = page_links(section.stem, local, section.page_count)
        years = by_year(tiles, continued=bool(continued))
        if section.person is None:
            return numbered(section.stem, local), FacesPage(
                site=self._site,
                root="",
                part=section.part,
                title="Ungrouped faces" if section.part == UNGROUPED else "People seen in one photo",
                facts=[counted(len(section.faces), "face", "faces")],
                years=years,
                pages=pages,
                jumps=section.jumps,
            )
        return f"{PEOPLE_FOLDER}/{numbered(section.stem, local)}", FacesPage(
            site=self._site,
            root="../",
            title=self._titles[section.person],
            facts=self._facts(section.person),
            person_id=str(self._album.people.ids[section.person]),
            back=Link("All people", f"../{self._card_link(section.person)}"),
            has_cover=True,
            cover=thumbs.get(int(self._album.people.covers[section.person])),
            years=years,
            pages=pages,
            jumps=section.jumps,
        )

    def index_page(
        self,
        number: int,
        thumbs: dict[int, bytes],
        *,
        method: Sequence[tuple[str, str]],
        notes: Sequence[str],
        empty: str | None,
    ) -> tuple[str, IndexPage]:
        """The file name and the content of a front page; figures and notes are on the first."""
        start = number * CARDS_PER_PAGE
        return numbered(_INDEX, number), IndexPage(
            site=self._site,
            cards=[self._card(int(i), thumbs) for i in self._cards[start : start + CARDS_PER_PAGE]],
            pages=page_links(_INDEX, number, self._index_pages),
            figures=self._figures() if number == 0 else (),
            method=method,
            notes=notes if number == 0 else (),
            empty=empty if number == 0 else None,
        )

    def problems_page(self, number: int) -> tuple[str, ProblemsPage]:
        """The file name and the content of a page of photos with problems."""
        start = number * PROBLEMS_PER_PAGE
        rows = self._states.errors.slice(start, PROBLEMS_PER_PAGE)
        roots, paths, reasons = (rows[name].to_pylist() for name in (ROOT, PATH_BYTES, REASON))
        kinds = self._states.kinds[start : start + PROBLEMS_PER_PAGE]
        problems = [
            (kind, Problem(self._path(root, path), self._links.to(root, path), reason[len(kind) + 2 :]))
            for kind, root, path, reason in zip(kinds, roots, paths, reasons, strict=True)
        ]
        return numbered(_PROBLEMS, number), ProblemsPage(
            site=self._site,
            reasons=[(kind, [p for _, p in same]) for kind, same in groupby(problems, key=lambda p: p[0])],
            pages=page_links(_PROBLEMS, number, self.problem_pages),
            skipped=self._states.skipped if number == self.problem_pages - 1 else (),
        )

    def _tiles(self, section: _Section, faces: np.ndarray, thumbs: dict[int, bytes]) -> list[FaceTile]:
        album, photos = self._album, self._album.photos
        links = self._links if section.person is None else self._people_links
        photo = pa.array(album.photo[faces], mask=album.photo[faces] < 0)
        columns = zip(
            faces.tolist(),
            album.face_ids.take(pa.array(faces)).to_pylist(),
            photos.roots.take(photo).to_pylist(),
            photos.paths.take(photo).to_pylist(),
            _moments(_times(album, faces)),
            album.confidence[faces].tolist(),
            album.attached[faces].tolist(),
            album.person[faces].tolist(),
            strict=True,
        )
        return [
            FaceTile(
                face_id=face_id,
                path=self._path(root, path or b""),
                href=links.to(root, path or b""),
                taken=taken,
                jpeg=thumbs.get(face),
                confidence=confidence if section.part != UNGROUPED and confidence == confidence else None,
                attached=attached,
                person=self._titles[person] if person >= 0 else None,
                show_person=section.part == SEEN_ONCE,
            )
            for face, face_id, root, path, taken, confidence, attached, person in columns
        ]

    def _path(self, root: str | None, path: bytes) -> str:
        return printable(path) if len(self._roots) < 2 else f"{root}/{printable(path)}"

    def _span(self, person: int) -> str:
        people = self._album.people
        return year_range(*_moments(np.array([people.first[person], people.last[person]])))

    def _facts(self, person: int) -> list[str]:
        people = self._album.people
        photos, faces = int(people.photos[person]), int(people.faces[person])
        facts = [
            counted(photos, "photo", "photos"),
            counted(faces, "face", "faces") if faces != photos else "",
            self._span(person),
        ]
        return [fact for fact in facts if fact]

    def _card_link(self, person: int) -> str:
        place = int(np.searchsorted(self._cards, person))
        return f"{numbered(_INDEX, place // CARDS_PER_PAGE)}#{self._stems[person]}"

    def _card(self, person: int, thumbs: dict[int, bytes]) -> PersonCard:
        people = self._album.people
        return PersonCard(
            name=self._titles[person],
            href=f"{PEOPLE_FOLDER}/{numbered(self._stems[person], 0)}",
            anchor=self._stems[person],
            faces=int(people.faces[person]),
            photos=int(people.photos[person]),
            years=self._span(person),
            jpeg=thumbs.get(int(people.covers[person])),
        )

    def _figures(self) -> list[tuple[str, str]]:
        album = self._album
        figures = {
            "photos": self._states.photos,
            "faces": len(album.face_ids),
            "people": len(album.people),
            "faces ungrouped": len(album.face_ids) - int(album.starts[-1]),
            "photos with problems": len(self._states.errors),
        }
        return [(name, f"{value:,}") for name, value in figures.items()]


def seen_once(album: Album) -> np.ndarray:
    """bool[p]: people without a name who are in a single photo; none if that were all people."""
    unnamed = np.array([not (name or "").strip() for name in album.people.names.to_pylist()], bool)
    once = unnamed & (album.people.photos == 1)
    return once & (not once.all())


def person_titles(ids: Sequence[str], names: Sequence[str | None]) -> list[str]:
    """What people are called: by their names, else "Person 12".

    The number is the one in the id, which stays from grouping to grouping; where the ids have no
    numbers, or not one each, it is the place in the list.
    """
    matches = [_NUMBERED_ID.fullmatch(i) for i in ids]
    numbers = [int(match[1]) for match in matches if match]
    if len(set(numbers)) < len(ids):
        numbers = list(range(1, len(ids) + 1))
    return [(name or "").strip() or f"Person {n}" for name, n in zip(names, numbers, strict=True)]


def _times(album: Album, faces: np.ndarray) -> np.ndarray:
    photo = album.photo[faces]
    times = np.full(len(faces), np.datetime64("NaT"), "datetime64[us]")
    times[photo >= 0] = album.photos.taken[photo[photo >= 0]]
    return times


def _years(album: Album) -> np.ndarray:
    times = _times(album, np.arange(len(album.face_ids)))
    years = times.astype("datetime64[Y]").astype(np.int64) + 1970
    # A year that is no date in Python is shown as undated.
    return np.where(np.isnat(times) | (years < 1) | (years > 9999), _UNDATED, years)


def _moments(times: np.ndarray) -> list[datetime | None]:
    return [t if isinstance(t, datetime) else None for t in times.astype(object).tolist()]
