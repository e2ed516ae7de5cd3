"""XMP packets, parsed safely: no document type, no entities, bounded in size and depth.

Source: ISO 16684-1 (XMP); namespaces from Adobe's XMP specification part 2 and IPTC Photo Metadata 2023.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import defusedxml.ElementTree

if TYPE_CHECKING:
    # For the type only: parsing goes through defusedxml.
    from xml.etree.ElementTree import Element

__all__ = ["read_xmp"]

_MAX_BYTES = 1024 * 1024
_MAX_DEPTH = 4
_MAX_ITEMS = 500

# Properties of other namespaces (develop settings, edit histories) are left out.
_PREFIXES = {
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://ns.adobe.com/xap/1.0/rights/": "xmpRights",
    "http://ns.adobe.com/photoshop/1.0/": "photoshop",
    "http://ns.adobe.com/tiff/1.0/": "tiff",
    "http://ns.adobe.com/exif/1.0/": "exif",
    "http://cipa.jp/exif/1.0/": "exifEX",
    "http://ns.adobe.com/exif/1.0/aux/": "aux",
    "http://ns.adobe.com/lightroom/1.0/": "lr",
    "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/": "Iptc4xmpCore",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/": "Iptc4xmpExt",
    "http://ns.useplus.org/ldf/xmp/1.0/": "plus",
    "http://ns.microsoft.com/photo/1.0/": "MicrosoftPhoto",
    "http://www.digikam.org/ns/1.0/": "digiKam",
    "http://ns.google.com/photos/1.0/panorama/": "GPano",
}
# Documents' edit histories and thumbnails live under these names.
_DROPPED = {"photoshop:DocumentAncestors", "photoshop:TextLayers", "xmp:Thumbnails"}
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


def read_xmp(packet: bytes) -> dict[str, Any]:
    """Return the properties of the known namespaces as ``{"dc:title": ...}``.

    Bags and sequences become lists, alternatives their default text, structures dicts.

    Raises
    ------
    ValueError
        The packet is too large or not well-formed.
    """
    if len(packet) > _MAX_BYTES:
        raise ValueError(f"the packet has {len(packet)} bytes, read are at most {_MAX_BYTES}")
    start, stop = packet.find(b"<"), packet.rfind(b">")
    try:
        root = defusedxml.ElementTree.fromstring(packet[max(start, 0) : stop + 1], forbid_dtd=True)
    except SyntaxError as error:
        raise ValueError(str(error)) from error
    properties: dict[str, Any] = {}
    for rdf in root.iter(f"{_RDF}RDF"):
        for description in rdf.findall(f"{_RDF}Description"):
            for name, value in _properties(description, 0):
                properties.setdefault(name, value)
    return properties


def _properties(description: Element, depth: int) -> Iterator[tuple[str, Any]]:
    """Yield what a description says, written as attributes or as elements."""
    for qualified, text in description.attrib.items():
        if (name := _short(qualified)) and text.strip():
            yield name, text.strip()
    for child in description:
        if (name := _short(child.tag)) and (value := _value(child, depth)):
            yield name, value


def _value(element: Element, depth: int) -> Any:
    """Return the text, list or dict that an element holds; None for nothing."""
    if depth > _MAX_DEPTH:
        return None
    first = next(iter(element), None)
    if first is None:
        text = (element.text or "").strip()
        return text or element.get(f"{_RDF}resource") or dict(_properties(element, depth))
    if first.tag == f"{_RDF}Alt":
        items = first.findall(f"{_RDF}li")
        default = [item for item in items if item.get(_LANGUAGE) == "x-default"]
        return next((value for item in default + items if (value := _value(item, depth + 1))), None)
    if first.tag in (f"{_RDF}Bag", f"{_RDF}Seq"):
        return [value for item in first[:_MAX_ITEMS] if (value := _value(item, depth + 1))]
    return dict(_properties(first if first.tag == f"{_RDF}Description" else element, depth + 1))


def _short(qualified: str) -> str | None:
    """Return ``prefix:name`` for a known namespace, else None."""
    namespace, _, name = qualified.removeprefix("{").rpartition("}")
    prefix = _PREFIXES.get(namespace)
    return f"{prefix}:{name}" if prefix and f"{prefix}:{name}" not in _DROPPED else None
