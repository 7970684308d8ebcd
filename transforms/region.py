"""A named box of another program."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Region:
    """A box (x0, y0, x1, y1) in pixels of the upright photo, or in parts of its sides where `relative`.
    `face_id` where the program kept Albumen's id; `name` may be empty."""

    name: str
    box: tuple[float, float, float, float]
    relative: bool = False
    face_id: str | None = None
