"""What a vision-language model's files say of how its pictures are prepared."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import pydantic

from enrich.errors import ManifestError
from enrich.inference.huggingface import PROCESSOR_NAMES, find_processor
from enrich.inference.manifest import parse_manifest
from enrich.inference.stored import StoredModel

__all__ = ["parse_processor", "read_processor"]

_Schema = TypeVar("_Schema", bound=pydantic.BaseModel)


def read_processor(model: StoredModel) -> tuple[dict[str, Any], Path]:
    """Return the description of a model's image processor and the file it stands in.

    Raises
    ------
    ManifestError
        There is none. Not retryable.
    """
    found = find_processor(model.folder)
    if found is None:
        raise ManifestError(
            f"{model.folder}: there is no {PROCESSOR_NAMES[0]}; copy it from where the weights come from"
        )
    return found


def parse_processor(schema: type[_Schema], model: StoredModel, *kinds: str) -> _Schema:
    """Return the description of a model's image processor in its own words.

    Parameters
    ----------
    schema : type
        The words.
    model : StoredModel
        Whose it is.
    kinds : str
        What the names of such processors begin with.

    Raises
    ------
    ManifestError
        There is none, it is of another kind, or a value is wrong. Not retryable.
    """
    values, path = read_processor(model)
    kind = values.get("image_processor_type")
    if kind is not None and not str(kind).startswith(kinds):
        raise ManifestError(f"{path}: image_processor_type: {kind} is not that of {' or '.join(kinds)}")
    # A key that is null is as good as absent.
    return parse_manifest(schema, {key: one for key, one in values.items() if one is not None}, path)
