import random
import re
import unicodedata

import numpy as np
import PIL.ExifTags
import PIL.Image
import PIL.IptcImagePlugin
import pytest

from enrich.drawings.poster import draw_poster
from enrich.drawings.samples import draw_samples, sample_scenes, write_iptc
from enrich.drawings.scenes import draw_scene
from enrich.rendition import probe


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples") / "inbox"
    return {path.name: path for path in draw_samples(folder)}


def test_twelve_files_of_three_formats(samples):
    assert len(samples) == 12
    formats = set()
    for path in samples.values():
        with PIL.Image.open(path) as image:
            image.load()
            formats.add(image.format)
    assert formats == {"JPEG", "PNG", "WEBP"}


def test_the_same_seed_writes_the_same_bytes(samples, tmp_path):
    for path in draw_samples(tmp_path):
        assert path.read_bytes() == samples[path.name].read_bytes()
    other = {path.name: path.read_bytes() for path in draw_samples(tmp_path / "other", seed=8)}
    assert other["child.jpg"] != samples["child.jpg"].read_bytes()


def test_exif_and_keywords(samples):
    with PIL.Image.open(samples["child.jpg"]) as image:
        exif = image.getexif()
    tags = PIL.ExifTags.Base
    assert exif[tags.ImageDescription] == "A drawn child"
    assert exif[tags.Model] == "Sketchbook 3"
    assert exif.get_ifd(PIL.ExifTags.IFD.Exif)[tags.DateTimeOriginal] == "2026:03:14 09:26:53"
    with PIL.Image.open(samples["banner.jpg"]) as image:
        degrees = image.getexif().get_ifd(PIL.ExifTags.IFD.GPSInfo)[PIL.ExifTags.GPS.GPSLatitude]
        xmp = image.info["xmp"].decode()
    assert sum(float(part) / 60**power for power, part in enumerate(degrees)) == pytest.approx(48.8583)
    assert re.findall("<rdf:li>(.*?)</rdf:li>", xmp) == ["geometry", "sample", "très joli"]
    assert unicodedata.is_normalized("NFC", xmp)


def test_one_lies_on_its_side(samples):
    with PIL.Image.open(samples["teenager.jpg"]) as image:
        assert image.getexif()[PIL.ExifTags.Base.Orientation] == 6
        stored = np.asarray(image)
    # Upright, the picture ends in clothes below; as stored, at its right.
    corner, left, right = (stored[place].astype(int) for place in ((3, 3), (240, 3), (240, -4)))
    assert np.abs(corner - left).max() < 8
    assert np.abs(corner - right).max() > 20


def test_what_the_scenes_show_is_known(samples):
    for name, scene in sample_scenes().items():
        image, drawn = draw_scene(random.Random(f"7 {name}"), 400)
        assert scene == drawn
        with PIL.Image.open(samples[name]) as stored:
            difference = np.abs(np.asarray(stored.convert("RGB")).astype(int) - np.asarray(image))
        assert difference.mean() < 3


def test_an_iptc_caption_is_read_and_leaves_the_picture_as_it_was(samples, tmp_path):
    edited = tmp_path / "banner.jpg"
    edited.write_bytes(write_iptc(samples["banner.jpg"].read_bytes(), "Spring, très joli", ["one", "two"]))
    before, after = (probe(path, max_pixels=10**7) for path in (samples["banner.jpg"], edited))
    assert after.picture.image_hash == before.picture.image_hash
    assert after.sha256 != before.sha256
    assert after.picture.embedded["description"] == "Spring, très joli"
    assert {"one", "two"} <= {*after.picture.embedded["keywords"]}
    with PIL.Image.open(edited) as image:
        places = [number for number, _ in image.applist]
        datasets = PIL.IptcImagePlugin.getiptcinfo(image)
    assert places.index("APP13") > max(places.index("APP0"), places.index("APP1"))
    assert datasets[2, 120].decode() == "Spring, très joli"
    assert datasets[2, 25] == [b"one", b"two"]


def test_posters_can_be_read(samples):
    pytest.importorskip("rapidocr", reason="the extra ocr is not installed")
    pytest.importorskip("onnxruntime", reason="the extra cpu is not installed")
    from rapidocr import RapidOCR

    image, lines = draw_poster(random.Random(1), 640)
    read = RapidOCR()(np.asarray(image)[:, :, ::-1])
    assert [_letters(text) for text in read.txts] == [_letters(line) for line in lines]


def _letters(text):
    return re.sub(r"\W", "", text).lower()
