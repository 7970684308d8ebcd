"""Pictures of many faces: a sheet of captioned tiles, and boxes drawn into a photo."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_TILE, _GAP, _CAPTION = 112, 6, 18


def contact_sheet(tiles: Sequence[tuple[Sequence[np.ndarray], str]], *, columns: int) -> bytes:
    """A PNG of tiles, each a row of uint8[h, w, 3] pictures side by side with a caption below.

    Captions that don't fit are cut. Without tiles an empty sheet.
    """
    across = max((len(pictures) for pictures, _ in tiles), default=1)
    width, height = across * _TILE + _GAP, _TILE + _CAPTION + _GAP
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * width + _GAP, max(1, rows) * height + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for number, (pictures, caption) in enumerate(tiles):
        left, top = _GAP + number % columns * width, _GAP + number // columns * height
        for k, picture in enumerate(pictures):
            sheet.paste(Image.fromarray(picture).resize((_TILE, _TILE)), (left + k * _TILE, top))
        draw.text((left, top + _TILE + 2), _fitting(caption, font, across * _TILE), "black", font)
    return _png(sheet)


def draw_boxes(photo: np.ndarray, boxes: Sequence[tuple[np.ndarray, str]], *, long_side: int) -> bytes:
    """A JPEG of uint8[h, w, 3] `photo`, its longer side at most `long_side`, with boxes (x0, y0, x1, y1) in
    colours."""
    image = Image.fromarray(photo)
    scale = min(1.0, long_side / max(image.size))
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    draw = ImageDraw.Draw(image)
    for box, colour in boxes:
        x0, y0, x1, y1 = (float(v) * scale for v in box)
        if x1 >= x0 and y1 >= y0:
            draw.rectangle((x0, y0, x1, y1), outline=colour, width=3)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()


def _fitting(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    # Pillow's own font knows Latin letters; anything else would be a box or, in old versions, an error.
    text = "".join(c if c.isprintable() and ord(c) < 0x250 else "?" for c in text)
    while len(text) > 1 and font.getlength(text) > width:
        text = text[:-1]
    return text


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()
