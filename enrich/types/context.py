"""What a work hook may know besides the renditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from enrich.types.models import ModelHandle
from enrich.types.statements import Statement

if TYPE_CHECKING:
    import logging

__all__ = ["Context"]


@dataclass(frozen=True, slots=True)
class Context:
    """What a work hook may know besides the renditions.

    Parameters
    ----------
    step : str
        The step's name in config.yaml.
    options : object
        The step's options, checked by the plugin's ``Options`` model; an empty mapping without one.
    model : ModelHandle or None
        The step's model.
    annotations : sequence of sequence of Statement
        ``annotations[i]`` is what earlier steps said of rendition i.
    language, length : str or None
        The language (BCP 47) and the caption length asked for.
    deadline : float or None
        The ``time.monotonic()`` instant after which the result is no longer wanted.
    log : logging.Logger
        Messages here carry the step and plugin.
    models : mapping of str to ModelHandle
        Further models, by the names in the options of the type ``ModelName``.
    """

    step: str
    options: Any
    model: ModelHandle | None
    annotations: Sequence[Sequence[Statement]]
    language: str | None
    length: str | None
    deadline: float | None
    log: logging.Logger
    models: Mapping[str, ModelHandle] = field(default_factory=dict)
