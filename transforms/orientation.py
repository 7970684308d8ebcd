"""How a photo lies in its file: its EXIF orientation, from as little of the file as possible."""

from __future__ import annotations

import os

from transforms import storage
from transforms.archive import read_file
from transforms.exif import read_exif
from transforms.file_kinds import image_format
from transforms.photo_formats import UnreadablePhoto, open_photo
from transforms.raw import raw_format

_HEAD = 256 * 1024
_ANY_SIZE = 1 << 40


def read_orientation(location: str, path: bytes) -> int:
    """1 to 8: the EXIF orientation of a photo of an archive, in whose frame its metadata counts.

    HEIF and AVIF say in their container how they lie, and programs count in the upright picture: 1.
    Raises OSError, and UnreadablePhoto for what is no photo.
    """
    if not storage.is_url(location):
        with open(os.path.join(os.fsencode(location), path), "rb") as file:
            head = file.read(_HEAD)
        if image_format(head) == "JPEG" and not raw_format(head, path):
            try:
                return _orientation(head, path)
            except UnreadablePhoto:
                pass  # its header is longer than that
    return _orientation(read_file(location, path), path)


def _orientation(data: bytes, path: bytes) -> int:
    if image_format(data) == "TIFF" and not raw_format(data, path):
        return read_exif(data).orientation  # where the pixels come upright from the decoder
    opened = open_photo(data, name=path, max_pixels=_ANY_SIZE)
    if opened is None:
        raise UnreadablePhoto("not a photo")
    return opened.exif.orientation


def embedded_xmp(location: str, path: bytes) -> bytes | None:
    """The XMP packet inside a JPEG, None where there is none or the file is of another format.

    Raises OSError, and UnreadablePhoto for a damaged file.
    """
    if storage.is_url(location):
        return None
    with open(os.path.join(os.fsencode(location), path), "rb") as file:
        head = file.read(_HEAD)
    if image_format(head) != "JPEG" or b"http://ns.adobe.com/xap/1.0/" not in head:
        return None
    try:
        opened = open_photo(head, name=path, max_pixels=_ANY_SIZE)
    except UnreadablePhoto:
        opened = open_photo(read_file(location, path), name=path, max_pixels=_ANY_SIZE)
    data = opened.image.info.get("xmp") if opened else None
    return data if isinstance(data, bytes) else None
