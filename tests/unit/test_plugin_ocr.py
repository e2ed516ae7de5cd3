"""Text that a step's own model reads, without the reader that the plugin brings."""

import logging
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from enrich.plugins import ocr

from enrich.errors import UsageError
from enrich.types import Context, Region, Rendition, TextLine

PICTURE = Rendition(None, None, 0, np.zeros((4, 4, 3), np.uint8), 4, 4, 4, 4)
LINES = [TextLine("EXIT", None, Region(0, 0, 1, 1)), TextLine("sure", 0.9), TextLine("unsure", 0.2)]


class Reader:
    """Reads the same lines in each picture."""

    def read(self, renditions: Sequence[Rendition]) -> list[list[TextLine]]:
        return [LINES for _ in renditions]


class Blind:
    """Reads nothing."""

    def read(self, renditions: Sequence[Rendition]) -> list[list[TextLine]]:
        raise UsageError("the model blind cannot read text")


def test_a_steps_model_reads_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    options = ocr.Options()
    ocr.check(options, Reader())
    context = Context("step", options, Reader(), [(), ()], None, None, None, logging.getLogger("test"))

    # Lines that no confidence is said of are not left out for it.
    assert ocr.enrich_text([PICTURE, PICTURE], context) == [LINES[:2], LINES[:2]]


def test_a_model_that_cannot_read_is_refused_at_the_start() -> None:
    with pytest.raises(UsageError, match="cannot read text"):
        ocr.check(ocr.Options(), Blind())
