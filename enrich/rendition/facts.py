"""From a path to a file's facts: what it is, who it is, what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any

from enrich.errors import EmptyFile, NotAPicture
from enrich.rendition.embedded import read_embedded
from enrich.rendition.formats import HEAD_BYTES, named_like_picture, sniff
from enrich.rendition.layout import Layout, image_hash
from enrich.rendition.source import Source, open_source
from enrich.rendition.structure import Opener, examine

__all__ = ["PictureFacts", "Probe", "probe"]

_TIFF_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """What is known of a picture before it is decoded.

    Parameters
    ----------
    image_hash : str
        The picture's identity, SHA-256, hexadecimal: unchanged by edits of its metadata.
    width_px, height_px : int
        The size as stored, before orientation.
    orientation : int or None
        The EXIF value as found, 1 to 8; None where there is none.
    pages : int
        Pages or frames, at most 1000.
    embedded : dict
        The embedded metadata, clean JSON.
    taken_at : datetime or None
        Local time as the camera wrote it, naive.
    taken_offset_minutes : int or None
        Its offset from UTC.
    camera : str or None
        Maker and model.
    latitude, longitude : float or None
        Degrees, north and east positive.
    """

    image_hash: str
    width_px: int
    height_px: int
    orientation: int | None
    pages: int
    embedded: dict[str, Any]
    taken_at: datetime | None
    taken_offset_minutes: int | None
    camera: str | None
    latitude: float | None
    longitude: float | None


@dataclass(frozen=True, slots=True)
class Probe:
    """What is known of a file. ``picture`` and the hashes are None for a foreign type.

    Parameters
    ----------
    size_bytes, modified_ns, changed_ns, inode : int
        From fstat, as of opening; times in nanoseconds of the Unix epoch.
    sha256, sha1 : str or None
        Of the whole file, hexadecimal.
    media_type : str or None
        By content; None for unknown content.
    picture : PictureFacts or None
        None for a file that is no picture.
    """

    size_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int
    sha256: str | None
    sha1: str | None
    media_type: str | None
    picture: PictureFacts | None


def probe(path: Path, *, max_pixels: int, opener: Opener | None = None) -> Probe:
    """Read a file once and return its facts, without decoding pixels.

    Parameters
    ----------
    path : Path
        The file; symbolic links are followed.
    max_pixels : int
        The limit of width times height.
    opener : callable or None
        A plugin's decoder; asked about types that Pillow does not open.

    Raises
    ------
    FileVanished
        It is gone, or was changed while it was read. Retryable.
    FileUnreadable, NotRegularFile, EmptyFile
        There is nothing to read.
    NotAPicture
        It is named like a picture and its content is something else.
    BrokenPicture, PictureTooLarge, DecoderMissing
        It is a picture and cannot be taken.
    """
    with open_source(path) as source:
        media_type = sniff(source.head[:HEAD_BYTES], path.name)
        layout = _layout(source, media_type, max_pixels, opener)
        sha256 = sha1 = None
        picture = None
        if layout is not None:
            sha256, sha1 = source.digests()
            picture = _facts(source, layout, sha256)
        source.check_unchanged()
        status = source.status
        return Probe(
            size_bytes=status.st_size,
            modified_ns=status.st_mtime_ns,
            changed_ns=status.st_ctime_ns,
            inode=status.st_ino,
            sha256=sha256,
            sha1=sha1,
            media_type=media_type,
            picture=picture,
        )


def _layout(source: Source, media_type: str | None, max_pixels: int, opener: Opener | None) -> Layout | None:
    """Return the structure of a picture, or None for a file that is none and does not claim to be."""
    name = source.path.name
    if not source.size_bytes:
        if named_like_picture(name):
            raise EmptyFile("the file is empty: copy it again")
        return None
    found = examine(source, media_type, max_pixels=max_pixels, opener=opener) if media_type else None
    if found is None and named_like_picture(name):
        content = media_type or "no known format"
        raise NotAPicture(f"named {PurePath(name).suffix} but its content is {content}")
    return found[0] if found else None


def _facts(source: Source, layout: Layout, sha256: str) -> PictureFacts:
    directories = source.read_at if source.head.startswith(_TIFF_MAGIC) else None
    embedded = read_embedded(layout, directories)
    return PictureFacts(
        image_hash=image_hash(source, layout, embedded.orientation, sha256),
        width_px=layout.width_px,
        height_px=layout.height_px,
        orientation=embedded.orientation,
        pages=layout.pages,
        embedded=embedded.data,
        taken_at=embedded.taken_at,
        taken_offset_minutes=embedded.taken_offset_minutes,
        camera=embedded.camera,
        latitude=embedded.latitude,
        longitude=embedded.longitude,
    )
