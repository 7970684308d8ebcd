"""XML from strangers' files, read so that it can neither grow nor reach out.

No entity is expanded, no DTD loaded, nothing fetched, no depth or size beyond libxml2's limits; a
document with a DOCTYPE is refused, as neither XMP nor the annotations read here ever have one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from lxml import etree

# What XML 1.0 can't hold even as a reference (section 2.2).
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_LARGEST = 64_000_000


class UnsafeXml(Exception):
    """The document is damaged, or tries what is not allowed; the text says which."""


def xml_text(text: str) -> str:
    """`text` without the characters that no XML document can hold."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)


def parse(data: bytes) -> etree._Element:
    """The root of a document. Raises UnsafeXml."""
    if len(data) > _LARGEST:
        raise UnsafeXml(f"{len(data):,} bytes: too large")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False,
        remove_comments=False, remove_pis=False,
    )  # fmt: skip
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise UnsafeXml(f"not well-formed: {error}") from error
    _refuse_doctype(root)
    return root


def iterate_elements(file: BinaryIO, tag: str) -> Iterator[etree._Element]:
    """The elements of a name in a large document, one after the other. Raises UnsafeXml."""
    elements = etree.iterparse(
        file,
        events=("end",),
        tag=tag,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
    )
    try:
        for number, (_, element) in enumerate(elements):
            if not number:
                _refuse_doctype(element)
            yield element
            element.clear()
            while element.getprevious() is not None:
                del element.getparent()[0]
    except etree.XMLSyntaxError as error:
        raise UnsafeXml(f"not well-formed: {error}") from error


def _refuse_doctype(element: etree._Element) -> None:
    info = element.getroottree().docinfo
    if info.doctype or info.internalDTD is not None:
        raise UnsafeXml("it has a DOCTYPE")
