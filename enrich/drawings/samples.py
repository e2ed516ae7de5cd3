"""Sample assets: a small folder of drawings as a DAM team might receive them, metadata included."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.ExifTags
import PIL.Image

from enrich.drawings.faces import draw_face
from enrich.drawings.poster import draw_poster
from enrich.drawings.scenes import Scene, compose_scene, draw_scene

__all__ = ["draw_samples", "sample_scenes", "write_iptc"]

_FACE_PX = 480
_SCENE_PX = 400
_POSTER_PX = 960
_MAKER = "Enrich"
_CAMERA = "Sketchbook 3"

# Source: https://developer.adobe.com/xmp/docs/XMPSpecifications/ part 1, 7.4 and part 3, 1.1
_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:subject><rdf:Bag>{keywords}</rdf:Bag></dc:subject>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


@dataclass(frozen=True, slots=True)
class _Metadata:
    """What a camera or an editor left in a file."""

    description: str = ""
    taken_at: str = ""
    place: tuple[float, float] | None = None
    orientation: int = 1
    keywords: tuple[str, ...] = ()


# The faces, with the age group each shows.
_FACES = (
    ("child.jpg", "0-12", _Metadata("A drawn child", "2026:03:14 09:26:53")),
    ("toddler.png", "0-12", _Metadata()),
    ("teenager.jpg", "13-20", _Metadata("A drawn teenager", "2026:04:02 16:05:10", orientation=6)),
    ("colleague.webp", "21-44", _Metadata(taken_at="2025:11:20 11:00:00")),
    ("presenter.jpg", "21-44", _Metadata("A drawn presenter", "2026:05:08 18:30:00")),
    ("director.jpg", "45-64", _Metadata(taken_at="2025:11:20 11:12:00", keywords=("board", "portrait"))),
    ("grandparent.jpg", "65+", _Metadata("A drawn pensioner", "2026:05:30 14:45:21")),
)
_SCENES = (
    ("sign.png", _Metadata()),
    ("banner.jpg", _Metadata(place=(48.8583, 2.2945), keywords=("geometry", "sample", "très joli"))),
    ("icon.webp", _Metadata()),
)
_POSTERS = (
    ("poster-1.jpg", _Metadata("A drawn poster", "2026:01:12 10:00:00")),
    ("poster-2.png", _Metadata()),
)


def draw_samples(folder: Path, seed: int = 7) -> list[Path]:
    """Draw the sample assets into ``folder``, which is made if need be; files of their names are replaced.

    Twelve files, JPEG, PNG and WebP: three scenes, seven faces and two posters with text. Some carry
    EXIF (camera, date, description, place) or XMP keywords; ``teenager.jpg`` lies on its side and
    says so in its EXIF orientation.

    Parameters
    ----------
    folder : Path
        Where the files go.
    seed : int
        Another seed draws other pictures under the same names.

    Returns
    -------
    list of Path
        The files, in the order they were drawn.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, metadata in _SCENES:
        image, _ = draw_scene(_rng(seed, name), _SCENE_PX)
        paths.append(_save(image, folder / name, metadata))
    for name, age_group, metadata in _FACES:
        image = draw_face(_rng(seed, name), age_group, _FACE_PX)
        paths.append(_save(image, folder / name, metadata))
    for name, metadata in _POSTERS:
        image, _ = draw_poster(_rng(seed, name), _POSTER_PX)
        paths.append(_save(image, folder / name, metadata))
    return paths


def sample_scenes(seed: int = 7) -> dict[str, Scene]:
    """Return what ``draw_samples`` draws with the same seed, by the name of the file; scenes only."""
    return {name: compose_scene(_rng(seed, name)) for name, _ in _SCENES}


def write_iptc(data: bytes, caption: str, keywords: Sequence[str]) -> bytes:
    """Return a JPEG with an IPTC caption and keywords, as a picture editor would save it.

    Parameters
    ----------
    data : bytes
        A JPEG without IPTC; its picture is not touched.
    caption : str
        Caption-Abstract.
    keywords : sequence of str
        Keywords.

    Source: IPTC, Information Interchange Model 4.2; Adobe, Photoshop File Formats (image resources).
    """
    datasets = [(1, 90, b"\x1b%G"), (2, 120, caption.encode())]
    datasets += [(2, 25, keyword.encode()) for keyword in keywords]
    block = b"".join(
        bytes((0x1C, record, number)) + len(value).to_bytes(2, "big") + value
        for record, number, value in datasets
    )
    resource = b"8BIM\x04\x04\0\0" + len(block).to_bytes(4, "big") + block + b"\0" * (len(block) % 2)
    segment = b"Photoshop 3.0\0" + resource
    end = 2
    while data[end : end + 2] in (b"\xff\xe0", b"\xff\xe1"):  # JFIF, EXIF and XMP stand before it
        end += 2 + int.from_bytes(data[end + 2 : end + 4], "big")
    return data[:end] + b"\xff\xed" + (len(segment) + 2).to_bytes(2, "big") + segment + data[end:]


def _rng(seed: int, name: str) -> random.Random:
    # Pictures, not secrets: a generator that repeats is what is wanted.
    return random.Random(f"{seed} {name}")  # noqa: S311


def _save(image: PIL.Image.Image, path: Path, metadata: _Metadata) -> Path:
    options: dict[str, Any] = {"exif": _exif(metadata)} if metadata != _Metadata() else {}
    if metadata.keywords:
        keywords = "".join(f"<rdf:li>{keyword}</rdf:li>" for keyword in metadata.keywords)
        options["xmp"] = _XMP.format(keywords=keywords).encode()
    if path.suffix != ".png":
        options["quality"] = 90
    if metadata.orientation == 6:
        # Orientation 6: the viewer turns the picture clockwise, so it is stored turned the other way.
        image = image.transpose(PIL.Image.Transpose.ROTATE_90)
    image.save(path, **options)
    return path


def _exif(metadata: _Metadata) -> PIL.Image.Exif:
    tags, exif = PIL.ExifTags.Base, PIL.Image.Exif()
    exif[tags.Orientation] = metadata.orientation
    if metadata.description:
        exif[tags.ImageDescription] = metadata.description
    if metadata.taken_at:
        exif[tags.Make], exif[tags.Model] = _MAKER, _CAMERA
        exif.get_ifd(PIL.ExifTags.IFD.Exif)[tags.DateTimeOriginal] = metadata.taken_at
    if metadata.place:
        latitude, longitude = metadata.place
        exif.get_ifd(PIL.ExifTags.IFD.GPSInfo).update(
            {
                PIL.ExifTags.GPS.GPSLatitudeRef: "N",
                PIL.ExifTags.GPS.GPSLatitude: _degrees(latitude),
                PIL.ExifTags.GPS.GPSLongitudeRef: "E",
                PIL.ExifTags.GPS.GPSLongitude: _degrees(longitude),
            }
        )
    return exif


def _degrees(value: float) -> tuple[float, float, float]:
    minutes, seconds = divmod(round(value * 3600, 2), 60)
    degrees, minutes = divmod(minutes, 60)
    return degrees, minutes, round(seconds, 2)
