"""The one place where Pillow's exceptions, warnings and limits become ours."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator

import PIL.Image

from enrich.errors import BrokenPicture, EnrichError, PictureTooLarge
from enrich.rendition.source import Source, os_error

__all__ = ["check_pixels", "decoding", "one_line"]

_PILLOW_MODULES = re.compile(r"PIL\.")


@contextlib.contextmanager
def decoding(source: Source, *, max_pixels: int) -> Iterator[None]:
    """Run a decoder: whatever it raises leaves as one of our errors, and it warns nobody.

    Raises
    ------
    FileVanished
        The file was changed meanwhile, which explains any failure. Retryable.
    FileUnreadable
        An I/O error.
    PictureTooLarge
        Over Pillow's own limit, or over the memory there is.
    BrokenPicture
        Anything else.
    """
    _hush_pillow()
    _allow(max_pixels)
    try:
        yield
    except EnrichError:
        raise
    except MemoryError as error:
        raise PictureTooLarge("decoding the picture needs more memory than there is") from error
    except PIL.Image.DecompressionBombError as error:
        raise PictureTooLarge(one_line(error)) from error
    # Decoders meet hostile bytes; Pillow alone is known to raise OSError, ValueError, TypeError,
    # SyntaxError, KeyError, IndexError, struct.error, EOFError, ZeroDivisionError and more.
    except Exception as error:
        source.check_unchanged()
        if isinstance(error, OSError) and error.errno:
            raise os_error(error) from error
        if isinstance(error, PIL.UnidentifiedImageError):
            raise BrokenPicture("the header is damaged, or of a variant that Pillow does not read") from error
        raise BrokenPicture(f"the picture cannot be decoded: {one_line(error)}") from error


def check_pixels(width_px: int, height_px: int, max_pixels: int) -> None:
    """Refuse a picture or a page before it is decoded.

    Raises
    ------
    BrokenPicture
        A side is not positive.
    PictureTooLarge
        It has more than ``max_pixels``.
    """
    if width_px < 1 or height_px < 1:
        raise BrokenPicture(f"the picture's size is {width_px} x {height_px} px")
    if width_px * height_px > max_pixels:
        raise PictureTooLarge(
            f"the picture has {width_px} x {height_px} px, more than max_pixels = {max_pixels} allows"
        )


def one_line(error: BaseException) -> str:
    """Return what the exception says, on one line of bounded length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return "".join(c if c.isprintable() else "?" for c in text)[:300]


def _hush_pillow() -> None:
    """Let Pillow's warnings pass unseen: what they tell is told by our errors and limits.

    ``warnings.catch_warnings`` replaces the filters of the whole process and puts them back, which
    undoes other threads' changes; so the one narrow filter is put in front and stays. It is looked
    for each time because others (test runners) reset the filters.
    """
    if ("ignore", None, Warning, _PILLOW_MODULES, 0) not in warnings.filters:
        warnings.filterwarnings("ignore", module=_PILLOW_MODULES.pattern)


def _allow(max_pixels: int) -> None:
    """Raise Pillow's process-wide limit where the operator asked for more; never lower it.

    Pillow refuses at twice MAX_IMAGE_PIXELS (179 megapixels unless changed). Our own limit is
    checked before every decode, so Pillow's stays as a second net for embedded frames and for
    other users of Pillow in this process.
    """
    limit = PIL.Image.MAX_IMAGE_PIXELS
    if limit is not None and max_pixels > 2 * limit:
        PIL.Image.MAX_IMAGE_PIXELS = -(-max_pixels // 2)
