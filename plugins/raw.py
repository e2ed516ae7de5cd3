"""A decoder for camera RAW files, by LibRaw (the extra ``raw``).

The picture is the preview that the camera embedded: what the photographer saw, and fast to read.
Only where that is too small is the RAW data developed, at half its size.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import PIL.Image

import enrich
from enrich.errors import BrokenPicture, ExtraMissing, FileUnreadable

if TYPE_CHECKING:
    import rawpy

__all__ = ["MEDIA_TYPES", "enrich_open", "requires", "revision"]

revision = "1"

#: What LibRaw knows, by media type.
MEDIA_TYPES = frozenset(
    f"image/x-{name}"
    for name in (
        "adobe-dng", "canon-cr2", "canon-cr3", "canon-crw", "epson-erf", "fuji-raf", "hasselblad-3fr",
        "kodak-dcr", "kodak-kdc", "leaf-mos", "leica-rwl", "mamiya-mef", "minolta-mrw", "nikon-nef",
        "nikon-nrw", "olympus-orf", "panasonic-rw2", "pentax-pef", "phaseone-iiq", "samsung-srw",
        "sigma-x3f", "sony-arw", "sony-sr2", "sony-srf",
    )
)  # fmt: skip

# The longest edge from which a preview shows as much as the steps look at.
_MIN_PREVIEW_PX = 1600

# LibRaw's turns -> EXIF orientation. Source: LibRaw, imgdata.sizes.flip; CIPA DC-008, Orientation.
_ORIENTATIONS = {0: 1, 3: 3, 5: 8, 6: 6}
_EXIF_ORIENTATION = 0x0112


def requires() -> None:
    """Check that the decoder can be loaded.

    Raises
    ------
    ExtraMissing
        rawpy is not installed. Not retryable.
    """
    if importlib.util.find_spec("rawpy") is None:
        raise ExtraMissing("decoding camera RAW files needs rawpy; run: pip install 'enrich-dam[raw]'")


@enrich.hookimpl
def enrich_open(path: Path, media_type: str) -> Sequence[PIL.Image.Image] | None:
    """Return the picture of a RAW file as stored, its orientation in its EXIF.

    None for other types, for a camera that LibRaw does not know, and without rawpy.

    Raises
    ------
    BrokenPicture
        Neither a preview nor the RAW data can be read. Not retryable.
    FileUnreadable
        Reading the file failed. Not retryable.
    """
    if media_type not in MEDIA_TYPES:
        return None
    try:
        import rawpy
    except ImportError:
        return None
    try:
        # Opened here because rawpy cannot take a file name that is not UTF-8.
        with path.open("rb") as file, rawpy.imread(file) as raw:
            image = _picture(raw)
    except OSError as error:
        raise FileUnreadable(f"cannot be read: {error.strerror or error}") from error
    except rawpy.LibRawFileUnsupportedError:
        return None
    except rawpy.LibRawError as error:
        said = error.args[0] if error.args else error
        said = said.decode(errors="replace") if isinstance(said, bytes) else said
        raise BrokenPicture(f"the RAW data cannot be decoded: {said}") from error
    return [image]


def _picture(raw: rawpy.RawPy) -> PIL.Image.Image:
    import rawpy

    # Asked first: developing with user_flip overwrites it.
    orientation = _ORIENTATIONS.get(raw.sizes.flip, 1)
    preview = _preview(raw, orientation)
    if preview is not None and max(preview.size) >= _MIN_PREVIEW_PX:
        return preview
    try:
        # user_flip: turned by whoever reads the EXIF, as a preview is.
        image = PIL.Image.fromarray(raw.postprocess(half_size=True, use_camera_wb=True, user_flip=0))
    except rawpy.LibRawError:
        # RAW data that is cut off or of an unknown compression often still has its small preview.
        if preview is None:
            raise
        return preview
    return _turn_later(image, orientation)


def _preview(raw: rawpy.RawPy, orientation: int) -> PIL.Image.Image | None:
    import rawpy

    try:
        data = raw.extract_thumb().data
        image: PIL.Image.Image
        if isinstance(data, bytes):
            # A JPEG; not decoded yet, because intake wants its size only.
            image = PIL.Image.open(io.BytesIO(data), formats=("JPEG",))
        else:
            image = PIL.Image.fromarray(data)
    except (rawpy.LibRawError, NotImplementedError, OSError, ValueError):
        # None there, of a format that rawpy does not hand out, or damaged.
        return None
    return _turn_later(image, orientation)


def _turn_later(image: PIL.Image.Image, orientation: int) -> PIL.Image.Image:
    """Give the picture the RAW file's orientation unless it has one of its own."""
    exif = image.getexif()
    if _EXIF_ORIENTATION not in exif:
        exif[_EXIF_ORIENTATION] = orientation
        image.info["exif"] = exif.tobytes()
    return image
