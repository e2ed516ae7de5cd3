"""The model store: a folder per model, the user's own before the bundled ones."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from enrich.errors import EnrichError, ExtraMissing, ManifestError, ModelMissing, UsageError
from enrich.inference.devices import Device
from enrich.inference.external_data import external_files
from enrich.inference.families import open_model, try_out
from enrich.inference.stored import StoredModel, is_model, read_model

__all__ = ["Listing", "ModelStore", "check_name"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Listing:
    """A line of ``enrich models list``: a model, or why a folder is none.

    Parameters
    ----------
    name : str
        The folder's name.
    folder : Path
        Where it is.
    bundled : bool
        It came with enrich.
    model : StoredModel or None
        None where ``problem`` says what is wrong.
    problem : str or None
        One line.
    """

    name: str
    folder: Path
    bundled: bool
    model: StoredModel | None
    problem: str | None


def check_name(name: str) -> None:
    """Raise unless a folder of the store may be called so.

    Raises
    ------
    UsageError
        It cannot be the name of a model. Not retryable.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f'"{name}" cannot be a model: a name is one of letters, digits, ".", "_" and "-"')


class ModelStore:
    """Finds models by name, without loading any.

    Parameters
    ----------
    models_dir : Path
        The user's models; it need not exist.
    bundled : Path or None
        Models that came with enrich; one of the same name in ``models_dir`` goes before.
    resolve : callable
        Returns the name in the store of whatever a model is called by.
    advice : callable
        Returns the command that brings a model of that name, or None where nothing does.
    """

    def __init__(
        self,
        models_dir: Path,
        bundled: Path | None = None,
        *,
        resolve: Callable[[str], str] = str,
        advice: Callable[[str], str | None] = lambda name: None,
    ) -> None:
        self._models_dir = models_dir
        self._bundled = bundled
        self._resolve = resolve
        self._advice = advice

    def resolve(self, name: str) -> str:
        """Return the name in the store of whatever a model is called by, be it here or not."""
        return self._resolve(name)

    def get(self, name: str) -> StoredModel:
        """Read the model of this name, or of another one that it goes by.

        Raises
        ------
        UsageError
            It cannot be the name of a model.
        ModelMissing
            There is none.
        ManifestError
            Its manifest or a file it needs is wrong.

        None of them is retryable.
        """
        called, name = name, self._resolve(name)
        check_name(name)
        folders = self._folders()
        if name not in folders:
            raise ModelMissing(self._missing(called, name, folders))
        model = read_model(folders[name])
        for graph in set(model.graphs.values()):
            external_files(graph)
        return model

    def list(self) -> tuple[Listing, ...]:
        """Return every model by name, the broken ones too."""
        return tuple(self._look(name, folder) for name, folder in self._folders().items())

    def verify(self, name: str) -> tuple[str, ...]:
        """Check a model's files against its manifest, and its graphs with one blank picture.

        Returns
        -------
        tuple of str
            A sentence per problem; empty where all is well.

        Raises
        ------
        UsageError, ModelMissing
            As ``get`` does. Not retryable.
        ExtraMissing
            ONNX Runtime is not installed. Not retryable.
        """
        try:
            model = self.get(name)
        except ManifestError as error:
            return (str(error),)
        problems = model.file_problems()
        try:
            with contextlib.closing(open_model(model, Device("cpu"))) as opened:
                try_out(opened)
        except ExtraMissing:  # it says nothing of the model
            raise
        except EnrichError as error:
            problems.append(str(error))
        return tuple(problems)

    def _missing(self, called: str, name: str, folders: dict[str, Path]) -> str:
        is_it = "" if called == name else f", which {called} is"
        command = self._advice(name)
        if command is not None:
            return f'no model "{name}" in {self._models_dir}{is_it}; run: {command}'
        have = ", ".join(folders) or "none"
        return (
            f'no model "{name}" in {self._models_dir}{is_it}; have: {have}; put a folder '
            "with a manifest.json there (docs/models.md), or pull one of: enrich models list --available"
        )

    def _look(self, name: str, folder: Path) -> Listing:
        bundled = folder.parent == self._bundled
        try:
            return Listing(name, folder, bundled, read_model(folder), None)
        except ManifestError as error:
            return Listing(name, folder, bundled, None, str(error))

    def _folders(self) -> dict[str, Path]:
        folders: dict[str, Path] = {}
        for parent in (self._bundled, self._models_dir):
            if parent is not None and parent.is_dir():
                folders |= {
                    folder.name: folder
                    for folder in parent.iterdir()
                    if _NAME.fullmatch(folder.name) and is_model(folder)
                }
        return dict(sorted(folders.items()))
