"""The values that plugins receive and return: frozen, light, without behaviour of their own.

Nothing here imports numpy or Pillow until a rendition's pixels are looked at.
"""

from __future__ import annotations

from enrich.types.context import Context
from enrich.types.models import Detection, ModelHandle, Scores
from enrich.types.outbox import Outbox, Webhook
from enrich.types.questions import AnswerType, Question
from enrich.types.renditions import Rendition
from enrich.types.statements import (
    AgeGroup,
    Answer,
    Caption,
    Embedding,
    Region,
    Skip,
    Statement,
    Tag,
    TextLine,
)
from enrich.types.writing import Decoding, Generated, Turn

__all__ = [
    "AgeGroup",
    "Answer",
    "AnswerType",
    "Caption",
    "Context",
    "Decoding",
    "Detection",
    "Embedding",
    "Generated",
    "ModelHandle",
    "Outbox",
    "Question",
    "Region",
    "Rendition",
    "Scores",
    "Skip",
    "Statement",
    "Tag",
    "TextLine",
    "Turn",
    "Webhook",
]
