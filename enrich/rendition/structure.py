"""The structure of any picture file: our own walk where identity needs it, else the decoder's header."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import PIL.Image

from enrich.errors import DecoderMissing, PictureTooLarge
from enrich.rendition.boundary import check_pixels, decoding
from enrich.rendition.formats import PILLOW_FORMATS, decoder_hint, is_picture
from enrich.rendition.gif import read_gif
from enrich.rendition.jpeg import read_jpeg
from enrich.rendition.layout import MAX_PAGES, Layout
from enrich.rendition.png import read_png
from enrich.rendition.source import Source
from enrich.rendition.tiff import read_tiff
from enrich.rendition.webp import read_webp

__all__ = ["Opener", "examine", "open_pillow"]

Opener: TypeAlias = Callable[[Path, str], Sequence[PIL.Image.Image] | None]

_WALKS = {"image/gif": read_gif, "image/jpeg": read_jpeg, "image/png": read_png, "image/webp": read_webp}
# Whose frames are pages. The layers of a PSD and the sizes of an icon are not.
_PAGED = {"image/avif", "video/x-flic"}

# Their decoders take the whole file into memory; no picture within the limit is that large.
_READ_WHOLE = {"image/avif", "image/heic", "image/heif", "image/webp"}
_MAX_BYTES_PER_PIXEL = 8

_ICONS = {"image/icns", "image/vnd.microsoft.icon"}
_PNG_HEADER = re.compile(rb"\x89PNG\r\n\x1a\n.{4}IHDR(.{4})(.{4})", re.DOTALL)
# Twice the largest side that any icon format knows.
_MAX_ICON_PIXELS = 2048 * 2048


def examine(
    source: Source, media_type: str, *, max_pixels: int, opener: Opener | None
) -> tuple[Layout, Sequence[PIL.Image.Image] | None] | None:
    """Return a picture's structure, and its pages where a plugin's opener decoded them.

    Returns None for a foreign type that nobody opens.

    Raises
    ------
    BrokenPicture
        The structure is damaged or cut off.
    PictureTooLarge
        It has more than ``max_pixels``.
    DecoderMissing
        It is a picture that neither Pillow nor the opener knows.
    FileVanished, FileUnreadable
        Reading failed.
    """
    with decoding(source, max_pixels=max_pixels):
        if _pillow_opens(media_type):
            if media_type in _READ_WHOLE and source.size_bytes > _MAX_BYTES_PER_PIXEL * max_pixels:
                raise PictureTooLarge(f"the file has {source.size_bytes >> 20} MiB")
            return _read_structure(source, media_type, max_pixels), None
        images = opener(source.path, media_type) if opener else None
        if images:
            width_px, height_px = images[0].size
            check_pixels(width_px, height_px, max_pixels)
            return Layout(width_px, height_px, pages=min(len(images), MAX_PAGES)), images
    if is_picture(media_type):
        raise DecoderMissing(f"no decoder for {media_type}: {decoder_hint(media_type)}")
    return None


def open_pillow(source: Source, media_type: str) -> PIL.Image.Image:
    """Open the file with the decoders of its type only. To be run within `decoding`."""
    return PIL.Image.open(source.stream(), formats=PILLOW_FORMATS[media_type])


def _read_structure(source: Source, media_type: str, max_pixels: int) -> Layout:
    if walk := _WALKS.get(media_type):
        layout = walk(source)
    elif media_type == "image/tiff":
        layout = read_tiff(source, max_pixels)
        # Its walk is lenient; whether the first page can be decoded at all only Pillow knows.
        open_pillow(source, media_type).close()
    else:
        layout = _pillow_layout(source, media_type)
    check_pixels(layout.width_px, layout.height_px, max_pixels)
    return layout


def _pillow_layout(source: Source, media_type: str) -> Layout:
    if media_type in _ICONS:
        _check_icon(source)
    with open_pillow(source, media_type) as image:
        exif, xmp = image.info.get("exif"), image.info.get("xmp")
        pages = getattr(image, "n_frames", 1) if media_type in _PAGED else 1
        return Layout(
            width_px=image.width,
            height_px=image.height,
            pages=min(pages, MAX_PAGES),
            exif=exif.removeprefix(b"Exif\x00\x00") if isinstance(exif, bytes) else None,
            xmp=xmp if isinstance(xmp, bytes) else None,
        )


def _check_icon(source: Source) -> None:
    """Refuse an icon with a huge PNG inside, which Pillow would decode whatever the icon claims."""
    content = source.read_at(0, min(source.size_bytes, 4 * _MAX_ICON_PIXELS))
    for match in _PNG_HEADER.finditer(content):
        width_px, height_px = (int.from_bytes(side, "big") for side in match.groups())
        if width_px * height_px > _MAX_ICON_PIXELS:
            raise PictureTooLarge(f"the icon holds a picture of {width_px} x {height_px} px")


def _pillow_opens(media_type: str) -> bool:
    """Tell whether Pillow, with what is installed, has a decoder for the type."""
    if media_type in ("image/heic", "image/heif"):
        return _register_heif()
    return media_type in PILLOW_FORMATS


def _register_heif() -> bool:
    """Register pillow-heif with Pillow where it is installed; repeating it is harmless."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True
