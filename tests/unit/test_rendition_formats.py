"""What a file is, by its content."""

import pytest

from enrich.rendition import is_picture, named_like_picture, sniff

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
TIFF = b"II*\x00" + bytes(20)


@pytest.mark.parametrize(
    ("head", "name", "expected"),
    [
        (b"\xff\xd8\xff\xe0" + bytes(20), "a.jpg", "image/jpeg"),
        (b"\xff\xd8\xff\xe0" + bytes(20), "a.heic", "image/jpeg"),
        (b"\xff\xd8\xff\xe0" + bytes(20), "a.nef", "image/jpeg"),
        (PNG, "a", "image/png"),
        (b"GIF89a" + bytes(20), "a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "a", "image/webp"),
        (b"RIFF\0\0\0\0WAVEfmt ", "a", "audio/wav"),
        (TIFF, "a.tif", "image/tiff"),
        (b"MM\x00+" + bytes(20), "a.tif", "image/tiff"),
        (TIFF, "a.NEF", "image/x-nikon-nef"),
        (TIFF, "a.cr2", "image/x-canon-cr2"),
        (TIFF, "a.dng", "image/x-adobe-dng"),
        (b"BM" + bytes(12) + b"\x28" + bytes(20), "a", "image/bmp"),
        (b"BMW is a car, not a picture at all", "a.txt", "text/plain"),
        (b"\x28" + bytes(39), "a.dib", "image/x-dib"),
        (b"\x00\x00\x00\x1cftypavif\0\0\0\0mif1miaf", "a", "image/avif"),
        (b"\x00\x00\x00\x1cftypmif1\0\0\0\0mif1avif", "a", "image/avif"),
        (b"\x00\x00\x00\x18ftypheic\0\0\0\0mif1", "a", "image/heic"),
        (b"\x00\x00\x00\x18ftypmif1\0\0\0\0mif1", "a", "image/heif"),
        (b"\x00\x00\x00\x18ftypcrx \0\0\0\1isom", "a.cr3", "image/x-canon-cr3"),
        (b"\x00\x00\x00\x18ftypisom\0\0\0\1isom", "a.jpg", "video/mp4"),
        (b"\x00\x00\x00\x14ftypqt  \0\0\0\0qt  ", "a.mov", "video/quicktime"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "a", "image/jp2"),
        (b"\xff\x4f\xff\x51\x00", "a", "image/j2k"),
        (b"\xff\x0a\x00", "a", "image/jxl"),
        (b"8BPS\x00\x01", "a", "image/vnd.adobe.photoshop"),
        (b"qoif" + bytes(10), "a", "image/qoi"),
        (b"\x00\x00\x01\x00\x01\x00" + bytes(16), "a", "image/vnd.microsoft.icon"),
        (b"P6\n# made by hand\n2 2\n255\n", "a", "image/x-portable-anymap"),
        (b"P6 is a chipset", "a.txt", "text/plain"),
        (b"\x00\x00\x02" + bytes(20), "a.tga", "image/x-tga"),
        (b"\x00\x00\x02" + bytes(20), "a.bin", None),
        (b"DDS |", "a", "image/vnd.ms-dds"),
        (b"\x01\xda\x01\x01", "a", "image/x-sgi"),
        (b"\x0a\x05\x01\x08", "a", "image/x-pcx"),
        (b"/* XPM */", "a", "image/x-xpixmap"),
        (b"#define cat_width 16\n#define cat_height 16\n", "a", "image/x-xbitmap"),
        (b"icns" + bytes(4), "a", "image/icns"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "a", "image/svg+xml"),
        (b"\x01\x00\x00\x00" + bytes(36) + b" EMF", "a", "image/emf"),
        (b"DanM", "a", "image/x-msp"),
        (b"\x59\xa6\x6a\x95", "a", "image/x-cmu-raster"),
        (b"\x00\x00\x00\x00\x12\xaf" + bytes(20), "a", "video/x-flic"),
        (b"  <!DOCTYPE html><html>", "a.jpg", "text/html"),
        (b"\xef\xbb\xbf<HTML>", "a.jpg", "text/html"),
        (b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>", "a.xmp", "application/rdf+xml"),
        (b"%PDF-1.7", "a.jpg", "application/pdf"),
        (b"PK\x03\x04", "a", "application/zip"),
        (b"\x1f\x8b\x08", "a", "application/gzip"),
        ("naïve text".encode(), "a.txt", "text/plain"),
        ("é".encode()[:1] + b"\x00\x01", "a", None),
        (b"\x00\x01\x02\x03", "a.jpg", None),
        (b"", "a.jpg", None),
    ],
)
def test_the_content_decides(head: bytes, name: str, expected: str | None) -> None:
    assert sniff(head, name) == expected


def test_a_character_cut_at_the_end_of_the_head_is_still_text() -> None:
    assert sniff(("x" * 4095 + "é").encode()[:4096], "a.txt") == "text/plain"


def test_pictures_are_image_types_with_or_without_a_decoder() -> None:
    assert all(map(is_picture, ["image/jpeg", "image/jxl", "image/x-nikon-nef", "video/x-flic"]))
    assert not any(map(is_picture, ["text/html", "video/mp4", "application/pdf", None]))


def test_the_extension_promises_a_picture() -> None:
    assert all(map(named_like_picture, ["a.JPG", "b.tiff", "c.nef", "d.x.png", "e.heic"]))
    assert not any(map(named_like_picture, ["a.txt", "jpg", ".jpg", "a.mp4", "a.jpg.part", ""]))
