"""Our numbers equal those recorded of the reference implementations; ``make parity`` records them anew."""

from collections.abc import Iterator

import pytest
from parity.agreement import (
    DualEncodersAgree,
    GraphsAgree,
    PicturesAgree,
    SamplingAgrees,
    SpeechAgrees,
    TextAgrees,
)
from parity.references import FOLDER, References


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Iterator[References]:
    recorded = References(FOLDER, tmp_path_factory.mktemp("models"))
    yield recorded
    recorded.close()


class TestPictures(PicturesAgree):
    pass


class TestDualEncoders(DualEncodersAgree):
    pass


class TestSpeech(SpeechAgrees):
    pass


class TestText(TextAgrees):
    pass


class TestSampling(SamplingAgrees):
    pass


class TestGraphs(GraphsAgree):
    pass
