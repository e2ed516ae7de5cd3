"""enrich: metadata enrichment for digital asset management.

What a plugin author needs is here. A complete plugin, ``my_plugins/light.py``::

    import enrich

    @enrich.hookimpl
    @enrich.each
    def enrich_tag(rendition):
        mean = rendition.pixels.mean() / 255
        return [enrich.Tag("bright" if mean > 0.5 else "dark")]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from enrich.errors import EnrichError
    from enrich.hookspecs import each, hookimpl
    from enrich.modelname import ModelName
    from enrich.prompts import PromptTemplate
    from enrich.questions import Questions
    from enrich.types import (
        AgeGroup,
        Answer,
        Caption,
        Context,
        Decoding,
        Detection,
        Embedding,
        Generated,
        Outbox,
        Question,
        Region,
        Rendition,
        Skip,
        Statement,
        Tag,
        TextLine,
        Turn,
        Webhook,
    )

__all__ = [
    "AgeGroup",
    "Answer",
    "Caption",
    "Context",
    "Decoding",
    "Detection",
    "Embedding",
    "EnrichError",
    "Generated",
    "ModelName",
    "Outbox",
    "PromptTemplate",
    "Question",
    "Questions",
    "Region",
    "Rendition",
    "Skip",
    "Statement",
    "Tag",
    "TextLine",
    "Turn",
    "Webhook",
    "__version__",
    "each",
    "hookimpl",
]

__version__ = "0.1.0"

_HOMES = {
    "EnrichError": "errors",
    "ModelName": "modelname",
    "PromptTemplate": "prompts",
    "Questions": "questions",
    "each": "hookspecs",
    "hookimpl": "hookspecs",
}


def __getattr__(name: str) -> Any:
    # Names are fetched when they are used: `import enrich` alone costs next to nothing.
    if name not in __all__:
        raise AttributeError(f"module 'enrich' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"enrich.{_HOMES.get(name, 'types')}"), name)
    globals()[name] = value
    return value
