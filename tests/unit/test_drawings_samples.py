import re
import unicodedata

import numpy as np
import PIL.ExifTags
import PIL.Image
import pytest

from enrich.drawings.samples import draw_samples


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
    with PIL.Image.open(samples["shapes-2.jpg"]) as image:
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


def test_posters_can_be_read(samples):
    pytest.importorskip("rapidocr", reason="the extra ocr is not installed")
    pytest.importorskip("onnxruntime", reason="the extra cpu is not installed")
    import random

    from rapidocr import RapidOCR

    from enrich.drawings.poster import draw_poster

    image, lines = draw_poster(random.Random(1), 640)
    read = RapidOCR()(np.asarray(image)[:, :, ::-1])
    assert [_letters(text) for text in read.txts] == [_letters(line) for line in lines]


def _letters(text):
    return re.sub(r"\W", "", text).lower()
