"""Our numbers equal those recorded of the reference implementations; ``make parity`` records them anew."""

from collections.abc import Iterator

import pytest
from parity.agreement import (  # noqa: F401  # pytest collects them here
    TestDualEncoders,
    TestGraphs,
    TestPictures,
    TestSampling,
    TestSpeech,
    TestText,
)
from parity.references import FOLDER, References


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Iterator[References]:
    recorded = References(FOLDER, tmp_path_factory.mktemp("models"))
    yield recorded
    recorded.close()
