"""Media types by content, and who decodes them.

The content decides; the name only tells camera RAW formats apart (most are TIFF files inside) and
the two formats without a magic number, TGA and DIB.
"""

from __future__ import annotations

import re
from pathlib import PurePath

__all__ = ["HEAD_BYTES", "PILLOW_FORMATS", "decoder_hint", "is_picture", "named_like_picture", "sniff"]

# What `sniff` wants to see: an HTML or XML prolog may stand before the telling word.
HEAD_BYTES = 4096

# Which Pillow plugins may open a media type. An allow-list: Pillow never guesses over all its
# plugins, some of which start other programs (EPS) or are stubs.
PILLOW_FORMATS = {
    "image/avif": ("AVIF",),
    "image/bmp": ("BMP",),
    "image/gif": ("GIF",),
    "image/heic": ("HEIF",),
    "image/heif": ("HEIF",),
    "image/icns": ("ICNS",),
    "image/j2k": ("JPEG2000",),
    "image/jp2": ("JPEG2000",),
    "image/jpeg": ("JPEG",),
    "image/png": ("PNG",),
    "image/qoi": ("QOI",),
    "image/tiff": ("TIFF",),
    "image/vnd.adobe.photoshop": ("PSD",),
    "image/vnd.microsoft.icon": ("ICO",),
    "image/vnd.ms-dds": ("DDS",),
    "image/webp": ("WEBP",),
    "image/x-cmu-raster": ("SUN",),
    "image/x-dib": ("DIB",),
    "image/x-msp": ("MSP",),
    "image/x-pcx": ("PCX",),
    "image/x-portable-anymap": ("PPM",),
    "image/x-sgi": ("SGI",),
    "image/x-tga": ("TGA",),
    "image/x-win-bitmap": ("CUR",),
    "image/x-xbitmap": ("XBM",),
    "image/x-xpixmap": ("XPM",),
    "video/x-flic": ("FLI",),
}

_RAW_TYPES = {
    ".3fr": "image/x-hasselblad-3fr",
    ".arw": "image/x-sony-arw",
    ".cr2": "image/x-canon-cr2",
    ".cr3": "image/x-canon-cr3",
    ".crw": "image/x-canon-crw",
    ".dcr": "image/x-kodak-dcr",
    ".dng": "image/x-adobe-dng",
    ".erf": "image/x-epson-erf",
    ".iiq": "image/x-phaseone-iiq",
    ".kdc": "image/x-kodak-kdc",
    ".mef": "image/x-mamiya-mef",
    ".mos": "image/x-leaf-mos",
    ".mrw": "image/x-minolta-mrw",
    ".nef": "image/x-nikon-nef",
    ".nrw": "image/x-nikon-nrw",
    ".orf": "image/x-olympus-orf",
    ".pef": "image/x-pentax-pef",
    ".raf": "image/x-fuji-raf",
    ".rw2": "image/x-panasonic-rw2",
    ".rwl": "image/x-leica-rwl",
    ".sr2": "image/x-sony-sr2",
    ".srf": "image/x-sony-srf",
    ".srw": "image/x-samsung-srw",
    ".x3f": "image/x-sigma-x3f",
}
_RAW_MEDIA_TYPES = frozenset(_RAW_TYPES.values())

_PICTURE_EXTENSIONS = {
    ".apng", ".avif", ".avifs", ".bmp", ".cur", ".dds", ".dib", ".emf", ".flc", ".fli", ".gif", ".heic",
    ".heics", ".heif", ".hif", ".icns", ".ico", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc", ".jpe", ".jpeg",
    ".jpf", ".jpg", ".jpx", ".jxl", ".mpo", ".msp", ".pam", ".pbm", ".pcx", ".pfm", ".pgm", ".png",
    ".pnm", ".ppm", ".psb", ".psd", ".qoi", ".ras", ".rgb", ".rgba", ".sgi", ".svg", ".tga", ".tif",
    ".tiff", ".webp", ".wmf", ".xbm", ".xpm", *_RAW_TYPES,
}  # fmt: skip

# (offset, magic, media type); the first match wins.
_MAGIC = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"8BPS", "image/vnd.adobe.photoshop"),
    (0, b"\x00\x00\x00\x0cjP  \r\n\x87\n", "image/jp2"),
    (0, b"\xff\x4f\xff\x51", "image/j2k"),
    (0, b"\x00\x00\x00\x0cJXL \r\n\x87\n", "image/jxl"),
    (0, b"\xff\x0a", "image/jxl"),
    (0, b"qoif", "image/qoi"),
    (0, b"DDS ", "image/vnd.ms-dds"),
    (0, b"icns", "image/icns"),
    (0, b"\x59\xa6\x6a\x95", "image/x-cmu-raster"),
    (0, b"DanM", "image/x-msp"),
    (0, b"LinS", "image/x-msp"),
    (0, b"/* XPM */", "image/x-xpixmap"),
    (40, b" EMF", "image/emf"),
    (0, b"\xd7\xcd\xc6\x9a", "image/wmf"),
    (0, b"IIU\x00", "image/x-panasonic-rw2"),
    (0, b"IIRO", "image/x-olympus-orf"),
    (0, b"IIRS", "image/x-olympus-orf"),
    (0, b"MMOR", "image/x-olympus-orf"),
    (0, b"FUJIFILMCCD-RAW", "image/x-fuji-raf"),
    (0, b"FOVb", "image/x-sigma-x3f"),
    (0, b"\x00MRM", "image/x-minolta-mrw"),
    (6, b"HEAPCCDR", "image/x-canon-crw"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"%!PS", "application/postscript"),
    (0, b"\xc5\xd0\xd3\xc6", "application/postscript"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"PK\x05\x06", "application/zip"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (0, b"\x7fELF", "application/x-elf"),
    (0, b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (0, b"{\\rtf", "application/rtf"),
    (0, b"\x1a\x45\xdf\xa3", "video/x-matroska"),
    (0, b"\x00\x00\x01\xba", "video/mpeg"),
    (0, b"FLV\x01", "video/x-flv"),
    (0, b"OggS", "application/ogg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"ID3", "audio/mpeg"),
)

_ICONS = {b"\x00\x00\x01\x00": "image/vnd.microsoft.icon", b"\x00\x00\x02\x00": "image/x-win-bitmap"}
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
_DIB_HEADER_BYTES = {12, 16, 40, 52, 56, 64, 108, 124}
_NETPBM = re.compile(rb"P[1-6][\s#]+[\d#]|P7\s|P[Ff]\s+[\d#]")
_XBM = re.compile(rb"\s*(?:/\*.*?\*/\s*)?#define\s+\S*_width\s", re.DOTALL)
_MARKUP = re.compile(
    rb"<(!doctype html|html|head|body|script|svg|x:xmpmeta|rdf:RDF|\?xml|\?xpacket)\b", re.IGNORECASE
)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def sniff(head: bytes, name: str) -> str | None:
    """Return the media type of a file from its first bytes.

    Parameters
    ----------
    head : bytes
        The file's first `HEAD_BYTES` bytes, or all of a shorter file.
    name : str
        The file's name; looked at only where the content leaves a choice.

    Returns
    -------
    str or None
        The media type, or None for content that is not known.
    """
    if head.startswith(_TIFF):
        return _RAW_TYPES.get(_extension(name), "image/tiff")
    for offset, magic, media_type in _MAGIC:
        if head.startswith(magic, offset):
            return media_type
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12], "application/x-riff")
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    return _weak_magic(head) or _by_name(head, _extension(name)) or _text(head)


def is_picture(media_type: str | None) -> bool:
    """Tell whether files of this type are assets: every image type, with or without a decoder here."""
    return media_type is not None and (media_type.startswith("image/") or media_type in PILLOW_FORMATS)


def named_like_picture(name: str) -> bool:
    """Tell whether the name's extension promises a picture."""
    return _extension(name) in _PICTURE_EXTENSIONS


def decoder_hint(media_type: str) -> str:
    """Return how to get a decoder for a picture type that nothing here opens, as one clause."""
    if media_type in ("image/heic", "image/heif"):
        return "run: pip install 'enrich-dam[heif]'"
    if media_type in _RAW_MEDIA_TYPES:
        return "run: pip install 'enrich-dam[raw]'"
    return "convert the file, or install a plugin whose enrich_open reads it"


def _extension(name: str) -> str:
    return PurePath(name).suffix.lower()


def _iso_media(head: bytes) -> str:
    """Return the type of an ISO base media file by its major brand, then its compatible brands."""
    major = head[8:12]
    size = int.from_bytes(head[:4], "big")
    brands = {major, *(head[i : i + 4] for i in range(16, min(size, len(head)), 4))}
    if major == b"crx ":
        return "image/x-canon-cr3"
    if major == b"qt  ":
        return "video/quicktime"
    if brands & {b"avif", b"avis"}:
        return "image/avif"
    if brands & _HEIC_BRANDS:
        return "image/heic"
    if brands & {b"mif1", b"msf1"}:
        return "image/heif"
    return "audio/mp4" if major.startswith(b"M4A") else "video/mp4"


def _weak_magic(head: bytes) -> str | None:
    """Recognise formats whose magic is so short that more of the header has to be plausible."""
    dib_bytes = int.from_bytes(head[14:18], "little")
    if head.startswith(b"BM") and (head[6:10] == bytes(4) or dib_bytes in _DIB_HEADER_BYTES):
        return "image/bmp"
    # An icon without a picture is none; a TGA file may start with the same four bytes.
    if head[:4] in _ICONS and head[4:6] not in (b"", b"\x00\x00"):
        return _ICONS[head[:4]]
    if _NETPBM.match(head):
        return "image/x-portable-anymap"
    if head.startswith(b"\x01\xda") and len(head) > 3 and head[2] in (0, 1) and head[3] in (1, 2):
        return "image/x-sgi"
    if head.startswith(b"\x0a") and len(head) > 3 and head[1] in (0, 2, 3, 4, 5) and head[2] == 1:
        return "image/x-pcx" if head[3] in (1, 2, 4, 8) else None
    if head[4:6] in (b"\x11\xaf", b"\x12\xaf") and head[14:16] in (b"\x00\x00", b"\x03\x00"):
        return "video/x-flic"
    return "image/x-xbitmap" if _XBM.match(head) else None


def _by_name(head: bytes, extension: str) -> str | None:
    """Recognise the formats without magic: the name says so and the header does not object."""
    if extension == ".dib" and int.from_bytes(head[:4], "little") in _DIB_HEADER_BYTES:
        return "image/x-dib"
    if extension == ".tga" and len(head) >= 18 and head[1] in (0, 1) and head[2] in (1, 2, 3, 9, 10, 11):
        return "image/x-tga"
    return None


def _text(head: bytes) -> str | None:
    """Tell markup and plain text apart from unknown bytes."""
    if not head:
        return None
    found = _MARKUP.search(head)
    if found and not head[: found.start()].strip(b"\xef\xbb\xbf \t\r\n"):
        word = found[1].lower()
        if word in (b"?xml", b"?xpacket", b"svg", b"x:xmpmeta", b"rdf:rdf"):
            return _xml(head)
        return "text/html"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "text/plain"
    if _CONTROL.search(head):
        return None
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # The head may end in the middle of a character.
        if error.start < len(head) - 3:
            return None
    return "text/plain"


def _xml(head: bytes) -> str:
    if b"<svg" in head:
        return "image/svg+xml"
    if b"<html" in head.lower():
        return "text/html"
    return "application/rdf+xml" if b"rdf:RDF" in head or b"x:xmpmeta" in head else "application/xml"
