"""Export as contact sheets: pages (JPEG or PDF) that show a person's faces."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from PIL import Image, ImageDraw, ImageFont

# A4 at 150 dots an inch.
WIDTH, HEIGHT, DPI = 1240, 1754, 150
_MARGIN, _HEAD, _TILE, _COLUMNS, _ROWS = 70, 150, 150, 7, 9
PER_PAGE = _COLUMNS * _ROWS
PAGES_PER_PDF = 20
_INK, _SOFT, _PAPER, _BLANK = (43, 37, 30), (106, 93, 77), (255, 253, 248), (226, 216, 197)
_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial Unicode.ttf", "Arial.ttf")


@dataclass(frozen=True)
class Tile:
    """A face on a sheet: its thumbnail (None: a blank), and a line below it."""

    jpeg: bytes | None
    caption: str


def sheets(title: str, facts: str, tiles: Iterable[Tile]) -> Iterator[Image.Image]:
    """The pages of one person, as many as the faces take, one in memory at a time."""
    waiting, number = iter(tiles), 0
    while batch := list(islice(waiting, PER_PAGE)):
        number += 1
        yield sheet(title, f"{facts} · page {number}", batch)


def sheet(title: str, facts: str, tiles: Sequence[Tile]) -> Image.Image:
    """One page with up to `PER_PAGE` faces."""
    page = Image.new("RGB", (WIDTH, HEIGHT), _PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((_MARGIN, 55), _fitting(draw, title, 40), _INK, font=_font(40))
    draw.text((_MARGIN, 108), _fitting(draw, facts, 20), _SOFT, font=_font(20))
    gap = (WIDTH - 2 * _MARGIN - _COLUMNS * _TILE) // (_COLUMNS - 1)
    step = (HEIGHT - _HEAD - _MARGIN) // _ROWS
    for number, tile in enumerate(tiles[:PER_PAGE]):
        row, column = divmod(number, _COLUMNS)
        x, y = _MARGIN + column * (_TILE + gap), _HEAD + row * step
        face = _thumbnail(tile.jpeg)
        if face is None:
            draw.rectangle((x, y, x + _TILE - 1, y + _TILE - 1), fill=_BLANK)
        else:
            page.paste(face, (x, y))
        draw.text((x, y + _TILE + 3), _fitting(draw, tile.caption, 14, _TILE), _SOFT, font=_font(14))
    return page


def jpeg(page: Image.Image) -> bytes:
    """A page as a JPEG file."""
    buffer = io.BytesIO()
    page.save(buffer, "JPEG", quality=88, dpi=(DPI, DPI))
    return buffer.getvalue()


def pdfs(pages: Iterable[Image.Image]) -> Iterator[bytes]:
    """Pages as PDF files of at most `PAGES_PER_PDF` pages, which bounds the memory."""
    waiting = iter(pages)
    while batch := list(islice(waiting, PAGES_PER_PDF)):
        buffer = io.BytesIO()
        batch[0].save(
            buffer, "PDF", save_all=True, append_images=batch[1:], resolution=DPI, producer="Albumen"
        )
        yield buffer.getvalue()


def _thumbnail(data: bytes | None) -> Image.Image | None:
    if not data:
        return None
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            return image.convert("RGB").resize((_TILE, _TILE), Image.Resampling.LANCZOS)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    # Pillow's own font knows Latin letters only; these know most alphabets.
    for name in _FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    return ImageFont.load_default(size)


def _fitting(draw: ImageDraw.ImageDraw, text: str, size: int, width: int = WIDTH - 2 * _MARGIN) -> str:
    text = "".join(c if c.isprintable() else " " for c in text)[:200]
    if draw.textlength(text, font=_font(size)) <= width:
        return text
    while text and draw.textlength(text + "…", font=_font(size)) > width:
        text = text[:-1]
    return text + "…"
