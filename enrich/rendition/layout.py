"""What the structure of a picture file says, before any pixel is decoded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from enrich.rendition.source import Source

__all__ = ["MAX_BLOCK_BYTES", "MAX_PAGES", "Layout", "Part", "image_hash"]

# Pages or frames of one file beyond this are not looked at: nobody wants a video's every frame
# captioned, and damaged files claim millions.
MAX_PAGES = 1000

# Of one metadata block; what is larger holds no words but data.
MAX_BLOCK_BYTES = 4 * 1024 * 1024

# Says how the hash is made; a change of the recipe changes the identity of every asset.
_RECIPE = b"enrich image_hash 1\n"


@dataclass(slots=True)
class Part:
    """One piece of image data: a label and the byte ranges (start, stop) that make it up."""

    label: bytes
    ranges: list[tuple[int, int]]


@dataclass(slots=True)
class Layout:
    """The structure of one picture file.

    Parameters
    ----------
    width_px, height_px : int
        The size as stored, before orientation.
    pages : int
        Pages or frames, at most `MAX_PAGES`.
    parts : list of Part or None
        The image data without metadata; None where the format is not taken apart.
    profile : bytes
        The ICC profile, where it is not among the parts.
    exif, xmp, iptc : bytes or None
        The metadata blocks as stored; ``exif`` starts with its TIFF header.
    texts : dict
        The format's own text fields by name (PNG text chunks, a JPEG comment).
    """

    width_px: int = 0
    height_px: int = 0
    pages: int = 1
    parts: list[Part] | None = None
    profile: bytes = b""
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    texts: dict[str, str] = field(default_factory=dict)


def image_hash(source: Source, layout: Layout, orientation: int | None, sha256: str) -> str:
    """Return the picture's identity: a SHA-256 over the image data without metadata, hexadecimal.

    Parameters
    ----------
    source : Source
        The file.
    layout : Layout
        Its structure.
    orientation : int or None
        The EXIF orientation; None counts as 1, upright.
    sha256 : str
        The whole file's hash, which stands for the data of formats that are not taken apart.
    """
    digest = hashlib.sha256(_RECIPE)
    digest.update(b"orientation %d profile %d\n" % (orientation or 1, len(layout.profile)))
    digest.update(layout.profile)
    if layout.parts is None:
        digest.update(b"file " + sha256.encode())
    for part in layout.parts or ():
        digest.update(b"%b %d\n" % (part.label, sum(stop - start for start, stop in part.ranges)))
        for start, stop in part.ranges:
            source.feed(digest.update, start, stop)
    return digest.hexdigest()
