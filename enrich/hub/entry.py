"""What the model list says of one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Listed", "WebFile"]


@dataclass(frozen=True, slots=True)
class WebFile:
    """A file that comes by https.

    Parameters
    ----------
    path : str
        In the model's folder.
    url : str
        Where it is.
    sha256 : str
        What it must be, whatever the address gives one day.
    bytes : int
        Its size.
    """

    path: str
    url: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Listed:
    """A model of the list.

    Parameters
    ----------
    name : str
        What it is called in config.yaml, and its folder in the store.
    repository : str
        The hub's repository of its weights, ``owner/name``; the project's address for ``files``.
    onnx : str or None
        The hub's repository of its ONNX files, which may be another one; None: nobody is known to publish
        them in a layout that enrich runs, ``enrich models export`` makes them.
    family : str
        One of ``enrich.inference.families.FAMILIES``.
    hooks : tuple of str
        The work hooks it serves.
    licence : str
        Of the weights.
    parameters : int
        About how many.
    variants : tuple of str
        The forms that are published; see ``enrich.hub.selection.VARIANTS``.
    on_cpu : str
        The variant to take for a CPU: fp32, unless another one was measured to be as good.
    revision : str
        Of ``onnx``, else of ``repository``.
    aliases : tuple of str
        What else it is called by.
    gated : bool
        Its terms have to be accepted on the hub first.
    note : str
        What else there is to know, for people.
    files : tuple of WebFile
        Where it comes by https.
    manifest : mapping
        What goes into its manifest.json besides.
    """

    name: str
    repository: str
    onnx: str | None
    family: str
    hooks: tuple[str, ...]
    licence: str
    parameters: int
    variants: tuple[str, ...] = ("fp32",)
    on_cpu: str = "fp32"
    revision: str = "main"
    aliases: tuple[str, ...] = ()
    gated: bool = False
    note: str = ""
    files: tuple[WebFile, ...] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_published(self) -> bool:
        """Whether its graphs can be pulled; else they are exported."""
        return self.onnx is not None or bool(self.files)

    @property
    def command(self) -> str:
        """The command that brings it."""
        way = "pull" if self.is_published else "export"
        return f"enrich models {way} {self.name}"

    @property
    def bytes(self) -> int | None:
        """How much comes with it, where that is known."""
        return sum(file.bytes for file in self.files) or None
