"""Identity and embedded metadata."""

import datetime as dt
import hashlib
import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrich.errors import BrokenPicture, DecoderMissing, FileError, PictureTooLarge
from enrich.rendition import PictureFacts, probe

XMP = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
 xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" xmp:Rating="4" crs:Tint="7"
 photoshop:DateCreated="2011-05-04T03:02:01-03:30" exif:GPSLatitude="51,30.0S" exif:GPSLongitude="0,7,30W">
<dc:title><rdf:Alt>
<rdf:li xml:lang="de">Titel</rdf:li><rdf:li xml:lang="x-default">Title</rdf:li></rdf:Alt></dc:title>
<dc:subject><rdf:Bag><rdf:li>sea</rdf:li><rdf:li>Sun</rdf:li></rdf:Bag></dc:subject>
<dc:creator><rdf:Seq><rdf:li>Ann</rdf:li><rdf:li>Bob</rdf:li></rdf:Seq></dc:creator>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""


def exif_bytes(**tags: Any) -> bytes:
    exif = PIL.Image.Exif()
    names = {"make": 0x010F, "model": 0x0110, "orientation": 0x0112, "description": 0x010E, "artist": 0x013B}
    for name, value in tags.items():
        if name in names:
            exif[names[name]] = value
    exif.get_ifd(0x8769).update(tags.get("exif", {}))
    exif.get_ifd(0x8825).update(tags.get("gps", {}))
    return exif.tobytes().removeprefix(b"Exif\x00\x00")


def iptc_bytes(*fields: tuple[int, bytes], utf8: bool = True) -> bytes:
    head = b"\x1c\x01\x5a\x00\x03\x1b%G" if utf8 else b""
    return head + b"".join(
        b"\x1c\x02" + struct.pack(">BH", number, len(value)) + value for number, value in fields
    )


def segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def jpeg_segments(exif: bytes = b"", xmp: bytes = b"", iptc: bytes = b"", comment: bytes = b"") -> bytes:
    found = b""
    if exif:
        found += segment(0xE1, b"Exif\x00\x00" + exif)
    if xmp:
        found += segment(0xE1, b"http://ns.adobe.com/xap/1.0/\x00" + xmp)
    if iptc:
        padded = iptc + b"\x00" * (len(iptc) % 2)
        resource = b"8BIM\x04\x04\x00\x00" + struct.pack(">I", len(iptc)) + padded
        found += segment(0xED, b"Photoshop 3.0\x00" + b"8BIM\x03\xed\x01x\x00\x00\x00\x01y\x00" + resource)
    return found + (segment(0xFE, comment) if comment else b"")


def edit_jpeg(content: bytes, **blocks: bytes) -> bytes:
    return content[:2] + jpeg_segments(**blocks) + content[2:]


def chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def edit_png(content: bytes, exif: bytes = b"", xmp: bytes = b"", text: bytes = b"") -> bytes:
    """Add metadata and cut the image data into other pieces."""
    found, position = content[:8], 8
    while position < len(content):
        size = int.from_bytes(content[position : position + 4], "big")
        name, payload = content[position + 4 : position + 8], content[position + 8 : position + 8 + size]
        if name == b"IEND":
            found += chunk(b"tIME", b"\x07\xe8\x01\x01\x00\x00\x00")
        pieces = [payload[:7], payload[7:]] if name == b"IDAT" else [payload]
        found += b"".join(chunk(name, piece) for piece in pieces)
        if name == b"IHDR":
            found += chunk(b"tEXt", b"Description\x00" + text) if text else b""
            found += chunk(b"iTXt", b"XML:com.adobe.xmp\x00\x00\x00\x00\x00" + xmp) if xmp else b""
            found += chunk(b"eXIf", exif) if exif else b""
        position += 12 + size
    return found


def edit_webp(content: bytes, exif: bytes = b"", xmp: bytes = b"") -> bytes:
    """Turn a simple WebP file into an extended one."""
    width, height = PIL.Image.open(io.BytesIO(content)).size
    flags = bytes([8 * bool(exif) + 4 * bool(xmp), 0, 0, 0])
    body = (
        b"VP8X"
        + struct.pack("<I", 10)
        + flags
        + (width - 1).to_bytes(3, "little")
        + (height - 1).to_bytes(3, "little")
    )
    body += content[12:]
    for name, payload in ((b"EXIF", exif), (b"XMP ", xmp)):
        if payload:
            body += name + struct.pack("<I", len(payload)) + payload + b"\x00" * (len(payload) % 2)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def encoded(kind: str, **options: Any) -> bytes:
    picture = PIL.Image.linear_gradient("L").resize((64, 48)).convert("RGB")
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture
def facts(tmp_path: Path) -> Callable[[bytes], PictureFacts]:
    def look(content: bytes) -> PictureFacts:
        path = tmp_path / "picture"
        path.write_bytes(content)
        found = probe(path, max_pixels=10_000_000)
        assert found.sha256 == hashlib.sha256(content).hexdigest()
        assert found.sha1 == hashlib.sha1(content).hexdigest()
        assert found.picture is not None
        json.dumps(found.picture.embedded, allow_nan=False).encode("utf-8")
        return found.picture

    return look


Look = Callable[[bytes], PictureFacts]
EDITS: list[tuple[str, dict[str, Any], Callable[..., bytes]]] = [
    ("JPEG", {}, edit_jpeg),
    ("JPEG", {"progressive": True}, edit_jpeg),
    ("PNG", {}, edit_png),
    ("WEBP", {}, edit_webp),
    ("WEBP", {"lossless": True}, edit_webp),
]


@pytest.mark.parametrize(("kind", "options", "edit"), EDITS)
def test_edits_of_metadata_leave_the_identity(
    facts: Look, kind: str, options: dict[str, Any], edit: Callable[..., bytes]
) -> None:
    content = encoded(kind, **options)
    plain = facts(content)
    more = {"comment": b"hi", "iptc": iptc_bytes((120, b"Caption"))} if kind == "JPEG" else {}
    edited = facts(edit(content, exif=exif_bytes(description="Other words", orientation=1), xmp=XMP, **more))
    assert edited.image_hash == plain.image_hash
    assert edited.embedded["title"] == "Title"
    assert (edited.width_px, edited.height_px) == (plain.width_px, plain.height_px) == (64, 48)


@pytest.mark.parametrize(("kind", "options", "edit"), EDITS)
def test_orientation_is_part_of_the_identity(
    facts: Look, kind: str, options: dict[str, Any], edit: Callable[..., bytes]
) -> None:
    content = encoded(kind, **options)
    hashes = {facts(edit(content, exif=exif_bytes(orientation=n))).image_hash for n in range(1, 9)}
    assert len(hashes) == 8


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_profile_and_pixels_are_part_of_the_identity(facts: Look, kind: str, srgb: bytes) -> None:
    plain = encoded(kind)
    assert facts(plain).image_hash != facts(encoded(kind, icc_profile=srgb)).image_hash
    other = io.BytesIO()
    PIL.Image.linear_gradient("L").resize((64, 48)).transpose(PIL.Image.Transpose.ROTATE_180).convert(
        "RGB"
    ).save(other, kind)
    assert facts(plain).image_hash != facts(other.getvalue()).image_hash


@pytest.fixture
def srgb() -> bytes:
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_one_byte_of_the_scan_is_another_picture(facts: Look) -> None:
    content = encoded("JPEG")
    assert facts(content[:-4] + b"\x55" + content[-3:]).image_hash != facts(content).image_hash


def test_what_follows_the_picture_is_not_part_of_it(facts: Look) -> None:
    for kind in ("JPEG", "PNG", "WEBP"):
        content = encoded(kind)
        assert facts(content + encoded("JPEG")).image_hash == facts(content).image_hash


def test_adobes_colour_transform_is_part_of_the_picture(facts: Look) -> None:
    content = encoded("JPEG")
    adobe = content[:2] + segment(0xEE, b"Adobe\x00\x64\x00\x00\x00\x00\x00") + content[2:]
    assert facts(adobe).image_hash != facts(content).image_hash


def test_large_files_are_streamed_to_the_same_result(facts: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = [edit_jpeg(encoded("JPEG", progressive=True), exif=exif_bytes(make="Me"), xmp=XMP)]
    contents += [
        edit_png(encoded("PNG"), xmp=XMP),
        edit_webp(encoded("WEBP"), xmp=XMP),
        encoded("TIFF"),
        encoded("GIF"),
    ]
    whole = [facts(content) for content in contents]
    monkeypatch.setattr("enrich.rendition.source._WHOLE_BYTES", 0)
    for chunk_bytes in (97, 1024):
        monkeypatch.setattr("enrich.rendition.source._CHUNK_BYTES", chunk_bytes)
        assert [facts(content) for content in contents] == whole


def test_exif_becomes_columns(facts: Look) -> None:
    exif = exif_bytes(
        make="Canon ",
        model="Canon EOS D60",
        orientation=6,
        artist="Anne",
        description="A dog",
        exif={
            0x9003: "2002:10:26 19:26:35",
            0x9011: "-05:30",
            0x829A: 0.02,
            0x927C: b"maker" * 99,
            0x8827: 400,
        },
        gps={1: "S", 2: (50.0, 43.0, 12.0), 3: "W", 4: (1.0, 57.0, 36.0)},
    )
    found = facts(edit_jpeg(encoded("JPEG"), exif=exif))
    assert (found.camera, found.orientation) == ("Canon EOS D60", 6)
    assert (found.taken_at, found.taken_offset_minutes) == (dt.datetime(2002, 10, 26, 19, 26, 35), -330)
    assert (found.latitude, found.longitude) == (-50.72, -1.96)
    assert found.embedded["creator"] == "Anne" and found.embedded["description"] == "A dog"
    assert found.embedded["exif"]["ExposureTime"] == 0.02 and found.embedded["exif"]["ISOSpeedRatings"] == 400
    assert "MakerNote" not in found.embedded["exif"] and "warnings" not in found.embedded


def test_exif_in_tiff_png_and_webp(facts: Look) -> None:
    exif = exif_bytes(make="NIKON CORPORATION", model="NIKON D70", exif={0x9003: "2008:03:15 09:52:01"})
    for content in (
        edit_png(encoded("PNG"), exif=exif),
        edit_webp(encoded("WEBP"), exif=b"Exif\x00\x00" + exif),
    ):
        assert facts(content).camera == "NIKON D70"
        assert facts(content).taken_at == dt.datetime(2008, 3, 15, 9, 52, 1)
    tags = PIL.Image.Exif()
    tags[0x010F], tags[0x0110], tags[0x0112] = "Hasselblad", "H6D", 3
    found = facts(encoded("TIFF", exif=tags))
    assert (found.camera, found.orientation) == ("Hasselblad H6D", 3)
    assert "ImageWidth" not in found.embedded["exif"]


def test_xmp_alone(facts: Look) -> None:
    found = facts(edit_jpeg(encoded("JPEG"), xmp=XMP))
    assert (found.taken_at, found.taken_offset_minutes) == (dt.datetime(2011, 5, 4, 3, 2, 1), -210)
    assert (found.latitude, found.longitude) == (-51.5, -0.125)
    assert {name: found.embedded[name] for name in ("title", "keywords", "creator", "rating")} == {
        "title": "Title",
        "keywords": ["sea", "Sun"],
        "creator": "Ann, Bob",
        "rating": 4,
    }
    assert "crs:Tint" not in found.embedded["xmp"]


def test_iptc_alone(facts: Look) -> None:
    fields = (
        (25, b"sea"),
        (25, b"S\xc3\xa9a"),
        (120, b"Caption"),
        (116, "© Me".encode()),
        (55, b"20040229"),
        (60, b"101112+0100"),
    )
    found = facts(edit_jpeg(encoded("JPEG"), iptc=iptc_bytes(*fields)))
    assert found.embedded["keywords"] == ["sea", "Séa"]
    assert found.embedded["copyright"] == "© Me"
    assert (found.taken_at, found.taken_offset_minutes) == (dt.datetime(2004, 2, 29, 10, 11, 12), 60)
    latin = facts(edit_jpeg(encoded("JPEG"), iptc=iptc_bytes((120, b"Caf\xe9"), utf8=False)))
    assert latin.embedded["description"] == "Café"


def test_keywords_of_all_kinds_come_once(facts: Look) -> None:
    iptc = iptc_bytes((25, b"SEA"), (25, b"sand"))
    assert facts(edit_jpeg(encoded("JPEG"), xmp=XMP, iptc=iptc)).embedded["keywords"] == [
        "sea",
        "Sun",
        "sand",
    ]


@pytest.mark.parametrize(
    ("written", "offset", "expected"),
    [
        ("0000:00:00 00:00:00", None, None),
        ("0001:01:01 00:00:00", None, None),
        ("2020:13:01 00:00:00", None, None),
        ("2020:02:30 00:00:00", None, None),
        ("    :  :     :  :  ", None, None),
        ("2020:02:29 23:59:60", None, dt.datetime(2020, 2, 29, 23, 59, 59)),
        ("2020-02-29T23:59:59", "+99:00", dt.datetime(2020, 2, 29, 23, 59, 59)),
    ],
)
def test_wrong_dates_are_none(
    facts: Look, written: str, offset: str | None, expected: dt.datetime | None
) -> None:
    tags = {0x9003: written} | ({0x9011: offset} if offset else {})
    found = facts(edit_jpeg(encoded("JPEG"), exif=exif_bytes(exif=tags)))
    assert (found.taken_at, found.taken_offset_minutes) == (expected, None)


@pytest.mark.parametrize(
    "gps",
    [
        {1: "N", 2: (91.0, 0.0, 0.0), 3: "E", 4: (1.0, 0.0, 0.0)},
        {1: "N", 2: (9.0, 61.0, 0.0), 3: "E", 4: (1.0, 0.0, 0.0)},
        {1: "?", 2: (9.0, 0.0, 0.0), 3: "E", 4: (1.0, 0.0, 0.0)},
        {1: "N", 2: (9.0, 0.0, 0.0)},
        {},
    ],
)
def test_a_wrong_position_is_none(facts: Look, gps: dict[int, Any]) -> None:
    found = facts(edit_jpeg(encoded("JPEG"), exif=exif_bytes(gps=gps)))
    assert (found.latitude, found.longitude) == (None, None)


def directory(*entries: tuple[int, int, int, bytes]) -> bytes:
    """A TIFF block whose values stand behind the directory."""
    head = b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", len(entries))
    at, tail = 8 + 2 + 12 * len(entries) + 4, b""
    for tag, kind, count, value in entries:
        inline = value.ljust(4, b"\x00") if len(value) <= 4 else struct.pack("<I", at + len(tail))
        tail += value if len(value) > 4 else b""
        head += struct.pack("<HHI", tag, kind, count) + inline
    return head + bytes(4) + tail


def test_dirty_values_come_out_clean(facts: Look) -> None:
    block = directory(
        (0x010E, 2, 12, b"dog\x00\xff\xfe\x01abcde"),
        (0x0112, 3, 1, b"\x09\x00"),
        (0x829A, 5, 1, bytes(8)),
        (0x829D, 5, 1, struct.pack("<II", 28, 10)),
        (0x9C9C, 1, 8, "a\x00\ud800b".encode("utf-16-le", "surrogatepass")),
        (0xC4A5, 12, 1, struct.pack("<d", float("nan"))),
        (0x9205, 11, 1, struct.pack("<f", float("inf"))),
        (0x8827, 3, 2**31, b"\xff\xff\xff\xff"),
        (0x013B, 2, 6, "Änne\0".encode()),
        (0x8298, 2, 7, "© Änne\0".encode("cp1252")),
    )
    found = facts(edit_jpeg(encoded("JPEG"), exif=block))
    assert found.orientation is None
    assert found.embedded["exif"] == {
        "ImageDescription": "dog",
        "Orientation": 9,
        "FNumber": 2.8,
        "XPComment": "a�b",
        "Artist": "Änne",
        "Copyright": "© Änne",
    }


def test_broken_blocks_are_left_out_with_a_warning(facts: Look) -> None:
    broken = edit_jpeg(
        encoded("JPEG"), exif=b"no TIFF at all", xmp=b"<x:xmpmeta>&bomb;", iptc=b"\x1c\x02\x78\xff"
    )
    found = facts(broken)
    assert [warning.split()[0] for warning in found.embedded["warnings"]] == ["EXIF", "XMP"]
    assert found.image_hash == facts(encoded("JPEG")).image_hash


def test_xml_bombs_are_refused(facts: Look) -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><xmpmeta>&b;</xmpmeta>'
    assert "XMP" in facts(edit_jpeg(encoded("JPEG"), xmp=bomb)).embedded["warnings"][0]


def test_long_metadata_is_cut(facts: Look) -> None:
    texts = b"".join(chunk(b"tEXt", b"Key%d\x00" % n + b"x" * 100_000) for n in range(40))
    content = encoded("PNG")
    found = facts(content[:33] + texts + content[33:])
    assert len(json.dumps(found.embedded)) < 80_000


def test_a_bomb_of_text_does_not_cost_the_picture(facts: Look) -> None:
    bomb = chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(bytes(100_000_000), 1))
    content = encoded("PNG")
    assert facts(content[:33] + bomb + content[33:]).image_hash == facts(content).image_hash


def test_exif_that_imagemagick_hides_in_png(facts: Look) -> None:
    block = b"Exif\x00\x00" + exif_bytes(orientation=8)
    text = b"Raw profile type exif\x00\x00" + zlib.compress(
        b"\nexif\n%8d\n" % len(block) + block.hex().encode()
    )
    content = encoded("PNG")
    assert facts(content[:33] + chunk(b"zTXt", text) + content[33:]).orientation == 8


@pytest.mark.parametrize("keep", [3, 20, 100, 600])
def test_a_jpeg_without_image_data_is_broken(facts: Look, keep: int) -> None:
    with pytest.raises(BrokenPicture):
        facts(encoded("JPEG")[:keep])


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF", "BMP"])
@pytest.mark.parametrize("keep", [20, 40])
def test_a_truncated_header_is_broken(facts: Look, kind: str, keep: int) -> None:
    with pytest.raises(BrokenPicture):
        facts(encoded(kind)[:keep])


def test_a_truncated_png_is_broken_before_it_is_decoded(facts: Look) -> None:
    with pytest.raises(BrokenPicture, match="truncated"):
        facts(encoded("PNG")[:-13])


@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "JPEG2000", "AVIF", "ICO", "PPM", "TGA"]
)
def test_the_pixel_limit_is_ours(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.tga"
    path.write_bytes(encoded(kind))
    found = probe(path, max_pixels=64 * 48)
    assert found.picture is not None
    limit = found.picture.width_px * found.picture.height_px - 1
    with pytest.raises(PictureTooLarge):
        probe(path, max_pixels=limit)


def test_a_tile_bomb_is_too_large(facts: Look) -> None:
    tags = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 277: 1, 322: 60000, 323: 60000, 324: 8, 325: 8}
    with pytest.raises(PictureTooLarge):
        facts(directory(*((tag, 4, 1, struct.pack("<I", value)) for tag, value in tags.items())))


def test_pages_are_counted_up_to_a_limit(facts: Look) -> None:
    pages = [PIL.Image.new("L", (2, 2), n % 256) for n in range(1200)]
    assert facts(encoded("GIF")).pages == 1
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        stream = io.BytesIO()
        pages[0].save(stream, kind, save_all=True, append_images=pages[30:210:30], lossless=True)
        assert facts(stream.getvalue()).pages == 7, kind
    stream = io.BytesIO()
    pages[0].save(stream, "GIF", save_all=True, append_images=pages[1:])
    assert facts(stream.getvalue()).pages == 1000


def test_a_loop_of_directories_ends(facts: Look) -> None:
    content = bytearray(encoded("TIFF"))
    start = struct.unpack_from("<I", content, 4)[0]
    count = struct.unpack_from("<H", content, start)[0]
    struct.pack_into("<I", content, start + 2 + 12 * count, start)
    assert facts(bytes(content)).pages == 1


def test_an_icon_with_a_huge_png_inside(facts: Look) -> None:
    huge = io.BytesIO()
    PIL.Image.new("1", (3000, 3000)).save(huge, "PNG")
    entry = struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(huge.getvalue()), 22)
    with pytest.raises(PictureTooLarge, match="3000 x 3000"):
        facts(b"\x00\x00\x01\x00\x01\x00" + entry + huge.getvalue())


@pytest.mark.parametrize(
    ("head", "name", "hint"),
    [
        (b"II*\x00", "a.nef", r"enrich-dam\[raw\]"),
        (b"\xff\x0a", "a.jxl", "enrich_open"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "a.svg", "enrich_open"),
    ],
)
def test_a_known_type_without_a_decoder_says_what_to_do(
    tmp_path: Path, head: bytes, name: str, hint: str
) -> None:
    (tmp_path / name).write_bytes(head + b"\n" * 100)
    with pytest.raises(DecoderMissing, match=hint):
        probe(tmp_path / name, max_pixels=1)


def test_an_opener_makes_any_type_a_picture(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")
    (tmp_path / "b.txt").write_bytes(b"text")
    pages = [PIL.Image.new("RGB", (30, 20)), PIL.Image.new("RGB", (3, 2))]

    def opener(path: Path, media_type: str) -> list[PIL.Image.Image] | None:
        return pages if media_type == "application/pdf" else None

    found = probe(tmp_path / "a.pdf", max_pixels=600, opener=opener)
    assert found.picture is not None and found.sha256 is not None
    assert (found.picture.width_px, found.picture.height_px, found.picture.pages) == (30, 20, 2)
    assert probe(tmp_path / "b.txt", max_pixels=600, opener=opener).picture is None
    with pytest.raises(PictureTooLarge):
        probe(tmp_path / "a.pdf", max_pixels=599, opener=opener)


SEEDS = [
    edit_jpeg(
        encoded("JPEG"),
        exif=exif_bytes(make="Me", exif={0x9003: "2002:10:26 19:26:35"}),
        xmp=XMP,
        iptc=iptc_bytes((25, b"sea")),
    ),
    edit_png(encoded("PNG"), exif=exif_bytes(make="Me"), xmp=XMP, text=b"words"),
    edit_webp(encoded("WEBP"), exif=exif_bytes(make="Me"), xmp=XMP),
    encoded("TIFF"),
    encoded("GIF"),
    encoded("BMP"),
]


@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    content=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=8),
    length=st.integers(1, 9999),
)
def test_damaged_files_give_facts_or_our_errors(
    tmp_path: Path, content: bytes, changes: list[tuple[int, int]], length: int
) -> None:
    damaged = bytearray(content)
    for position, value in changes:
        damaged[position % len(damaged)] = value
    path = tmp_path / "a.jpg"
    path.write_bytes(damaged[:length])
    try:
        found = probe(path, max_pixels=10_000_000)
    except FileError:
        return
    assert found.picture is not None
    json.dumps(found.picture.embedded, allow_nan=False).encode("utf-8")
