"""A model's folder, read and made whole: its manifest, and what its Hugging Face files add."""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from enrich.errors import ManifestError
from enrich.inference import huggingface
from enrich.inference.manifest import (
    FAMILIES,
    MANIFEST_NAME,
    Activation,
    Manifest,
    parse_manifest,
    read_json,
)
from enrich.inference.preprocess import Preprocessing

__all__ = ["StoredModel", "is_model", "read_model"]

_NUMBERED = re.compile(r"(\d+)\s*[,;:\t]\s*(.*\S)")
_HASH_DIGITS = 12


@dataclass(frozen=True)
class StoredModel:
    """A model as it lies in the model store.

    Parameters
    ----------
    name : str
        The folder's name.
    folder : Path
        Where its files are.
    manifest : Manifest
        manifest.json as written; an empty one where there is none.
    graph : Path
        The .onnx file.
    labels : tuple of str
        In the order of the graph's output.
    preprocessing : Preprocessing
        From a rendition to the graph's input.
    activation : {"softmax", "sigmoid", "none"}
        What makes probabilities of the graph's output.
    """

    name: str
    folder: Path
    manifest: Manifest
    graph: Path
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    activation: Activation

    @functools.cached_property
    def revision(self) -> str:
        """The weights' upstream revision; else a hash of the graph and of the weights beside it."""
        if self.manifest.revision is not None:
            return self.manifest.revision
        whole = hashlib.sha256()
        # Large exports keep their weights in model.onnx_data or model.onnx.data.
        for path in sorted(self.graph.parent.iterdir()):
            if path.name.startswith(self.graph.name) and path.is_file():
                whole.update(bytes.fromhex(_sha256(path)))
        return f"sha256-{whole.hexdigest()[:_HASH_DIGITS]}"

    @property
    def hooks(self) -> tuple[str, ...]:
        """The work hooks this model can serve."""
        return self.manifest.hooks or FAMILIES[self.manifest.family]

    def file_problems(self) -> list[str]:
        """Compare the files with the manifest; one sentence for each that is missing or altered."""
        problems = []
        for file in self.manifest.files:
            try:
                path = _inside(self.folder, file.path, "files")
                size, digest = path.stat().st_size, _sha256(path)
            except OSError as error:
                problems.append(f"{self.folder / file.path}: cannot be read: {error.strerror}")
            except ManifestError as error:
                problems.append(str(error))
            else:
                if file.bytes not in (None, size):
                    problems.append(f"{path}: {size} bytes, the manifest says {file.bytes}")
                if digest != file.sha256:
                    problems.append(f"{path}: its sha256 is {digest}, the manifest says {file.sha256}")
        return problems


def is_model(folder: Path) -> bool:
    """Tell whether a folder holds a model, right or wrong."""
    return (folder / MANIFEST_NAME).is_file() or (folder / huggingface.CONFIG_NAME).is_file()


def read_model(folder: Path) -> StoredModel:
    """Read a model's folder: manifest.json, or what an export of transformers leaves.

    Raises
    ------
    ManifestError
        One line that names the file and the key. Not retryable.
    """
    path = folder / MANIFEST_NAME
    config_path = folder / huggingface.CONFIG_NAME
    config = read_json(config_path) if config_path.is_file() else {}
    if path.is_file():
        manifest = parse_manifest(Manifest, read_json(path), path)
    else:
        huggingface.check_architecture(config, config_path)
        manifest = Manifest()
    if manifest.name not in (None, folder.name):
        raise ManifestError(f'{path}: name: is "{manifest.name}", and the folder "{folder.name}"')
    for file in manifest.files:
        _inside(folder, file.path, "files")
    return StoredModel(
        name=folder.name,
        folder=folder,
        manifest=manifest,
        graph=_graph(folder, manifest),
        labels=_labels(folder, manifest, config),
        preprocessing=_preprocessing(folder, manifest),
        activation=manifest.output.activation or huggingface.activation_of(config),
    )


def _graph(folder: Path, manifest: Manifest) -> Path:
    if manifest.graph is not None:
        path = _inside(folder, manifest.graph, "graph")
        if not path.is_file():
            raise ManifestError(f"{folder / MANIFEST_NAME}: graph: there is no file {manifest.graph}")
        return path
    graphs = sorted(folder.glob("*.onnx"))
    if len(graphs) != 1:
        found = ", ".join(graph.name for graph in graphs) or "none"
        raise ManifestError(f"{folder / MANIFEST_NAME}: graph: name the .onnx file; the folder has {found}")
    return _inside(folder, graphs[0].name, "graph")


def _labels(folder: Path, manifest: Manifest, config: dict[str, object]) -> tuple[str, ...]:
    if manifest.labels is None:
        return huggingface.labels_of(config, folder / huggingface.CONFIG_NAME)
    if not isinstance(manifest.labels, str):
        return manifest.labels
    path = _inside(folder, manifest.labels, "labels")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{folder / MANIFEST_NAME}: labels: {path} cannot be read: {error}") from error
    lines = [line.strip() for line in lines if line.strip()]
    if not lines:
        raise ManifestError(f"{folder / MANIFEST_NAME}: labels: {path} is empty")
    return _without_numbers(lines)


def _without_numbers(lines: list[str]) -> tuple[str, ...]:
    """Take ``12,goldfish`` for a numbered list only if every line has the number it should have."""
    matches = [_NUMBERED.fullmatch(line) for line in lines]
    numbers = [int(match[1]) for match in matches if match]
    if numbers in (list(range(len(lines))), list(range(1, len(lines) + 1))):
        return tuple(match[2] for match in matches if match)
    return tuple(lines)


def _preprocessing(folder: Path, manifest: Manifest) -> Preprocessing:
    if manifest.input is not None:
        return manifest.input.preprocessing()
    path = folder / huggingface.PROCESSOR_NAME
    if not path.is_file():
        raise ManifestError(f"{folder / MANIFEST_NAME}: input: missing, and there is no {path.name} either")
    return huggingface.input_of(read_json(path), path).preprocessing()


def _inside(folder: Path, name: str, key: str) -> Path:
    # Resolved, so that neither "..", nor an absolute path, nor a link leads out of the folder.
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ManifestError(f"{folder / MANIFEST_NAME}: {key}: {name} leads out of the model's folder")
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
