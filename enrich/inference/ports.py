"""Which of a graph's inputs and outputs are meant, and whether the pictures fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from enrich.errors import ManifestError
from enrich.inference.session import Port
from enrich.inference.stored import StoredModel

__all__ = ["choose_port", "picture_port"]


def choose_port(
    model: StoredModel, ports: Sequence[Port], name: str | None, usual: Sequence[str], key: str
) -> Port:
    """Return the port of this name; without one, the only port, or the first that has a usual name.

    Parameters
    ----------
    model : StoredModel
        Whose graph it is, for the message.
    ports : sequence of Port
        The graph's inputs, or its outputs.
    name : str or None
        What the manifest says.
    usual : sequence of str
        What exporters call it, the best first; they may add hidden states beside it.
    key : str
        The manifest's key, for the message.

    Raises
    ------
    ManifestError
        There is none, or it cannot be told which. Not retryable.
    """
    by_name = {port.name: port for port in ports}
    found = ", ".join(by_name)
    if name is not None:
        if name in by_name:
            return by_name[name]
        raise ManifestError(f"{model.folder}: {key}.name: there is no {name}; the graph has {found}")
    for one in usual:
        if one in by_name:
            return by_name[one]
    if len(ports) == 1:
        return ports[0]
    raise ManifestError(f"{model.folder}: {key}.name: missing; the graph has {found}")


def picture_port(model: StoredModel, inputs: Sequence[Port], shape: tuple[int, ...] | None = None) -> Port:
    """Return the input that takes pictures, which fits what the preprocessing gives.

    Parameters
    ----------
    model : StoredModel
        Whose graph it is.
    inputs : sequence of Port
        The graph's.
    shape : tuple of int or None
        What a picture becomes; None: what the model's own preprocessing makes of it.

    Raises
    ------
    ManifestError
        There is none, or it takes another size. Not retryable.
    """
    name = model.manifest.input.name if model.manifest.input else None
    port = choose_port(model, inputs, name, ["pixel_values"], "input")
    _check_size(model, port, shape or model.preprocessing.shape)
    return port


def _check_size(model: StoredModel, port: Port, shape: tuple[int, ...]) -> None:
    wanted = port.shape[1:]
    fits = len(wanted) == len(shape) and all(a in (None, b) for a, b in zip(wanted, shape, strict=True))
    if not fits:
        raise ManifestError(
            f"{model.folder}: input: gives {_axes(shape)} per picture, and the graph's input "
            f"{port.name} takes {_axes(wanted)}; look at layout, resize and crop"
        )


def _axes(shape: Sequence[Any]) -> str:
    return " x ".join("any" if axis is None else str(axis) for axis in shape)
