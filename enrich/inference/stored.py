"""A model's folder, read and made whole: its manifest, and what its Hugging Face files add."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enrich.errors import ManifestError
from enrich.inference import huggingface
from enrich.inference.families import FAMILIES, WRITERS, family_of
from enrich.inference.layout import find_file, find_graphs, inside
from enrich.inference.manifest import MANIFEST_NAME, Activation, Manifest, parse_manifest, read_json
from enrich.inference.preprocess import Preprocessing

__all__ = ["StoredModel", "is_model", "read_model"]

_NUMBERED = re.compile(r"(\d+)\s*[,;:\t]\s*(.*\S)")
_HASH_DIGITS = 12
_TOKENIZER_NAME = "tokenizer.json"
# Families that neither read nor write.
_WORDLESS = ("classifier", "detector", "regressor")


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
    config : mapping
        config.json as written; empty where there is none.
    family : str
        One of ``enrich.inference.families.FAMILIES``.
    hooks : tuple of str
        The work hooks this model can serve.
    graphs : mapping of str to Path
        The .onnx files by their part (see ``find_graphs``); the one that takes pictures is first.
    labels : tuple of str
        In the order of a classifier's or detector's output; empty in other families.
    fixed : Preprocessing or None
        From a rendition to the first graph's input; None where each picture has a size of its own there.
    activation : {"softmax", "sigmoid", "none"}
        What makes probabilities of a classifier's output.
    """

    name: str
    folder: Path
    manifest: Manifest
    config: Mapping[str, Any]
    family: str
    hooks: tuple[str, ...]
    graphs: Mapping[str, Path]
    labels: tuple[str, ...]
    fixed: Preprocessing | None
    activation: Activation

    @property
    def preprocessing(self) -> Preprocessing:
        """From a rendition to the first graph's input, of families whose pictures all have one size."""
        assert self.fixed is not None, f"{self.family} models prepare pictures in a way of their own"
        return self.fixed

    @property
    def graph(self) -> Path:
        """The graph that takes pictures."""
        return next(iter(self.graphs.values()))

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages it can be asked for (BCP 47): of what writes, English unless it is said."""
        return self.manifest.languages or (("en",) if self.family in WRITERS else ())

    def file(self, name: str) -> Path | None:
        """Return a file of the model's folder, or of its ``onnx`` folder; None where there is none.

        Raises
        ------
        ManifestError
            The file leads out of the folder. Not retryable.
        """
        return find_file(self.folder, name)

    @functools.cached_property
    def revision(self) -> str:
        """The weights' upstream revision; else a hash of graphs, weights beside them, and tokenizer."""
        if self.manifest.revision is not None:
            return self.manifest.revision
        whole = hashlib.sha256()
        tokenizer = None if self.family in _WORDLESS else self.file(_TOKENIZER_NAME)
        for path in (*self.graphs.values(), *((tokenizer,) if tokenizer else ())):
            # Large exports keep their weights in model.onnx_data or model.onnx.data.
            for part in sorted(path.parent.iterdir()):
                if part.name.startswith(path.name) and part.is_file():
                    whole.update(bytes.fromhex(_sha256(part)))
        return f"sha256-{whole.hexdigest()[:_HASH_DIGITS]}"

    def file_problems(self) -> list[str]:
        """Compare the files with the manifest; one sentence for each that is missing or altered."""
        problems = []
        for file in self.manifest.files:
            try:
                path = inside(self.folder, file.path, "files")
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
    manifest = parse_manifest(Manifest, read_json(path), path) if path.is_file() else Manifest()
    if manifest.name not in (None, folder.name):
        raise ManifestError(f'{path}: name: is "{manifest.name}", and the folder "{folder.name}"')
    for file in manifest.files:
        inside(folder, file.path, "files")
    family, hooks = _family(manifest, config, folder)
    has_labels = family in ("classifier", "detector")
    return StoredModel(
        name=folder.name,
        folder=folder,
        manifest=manifest,
        config=config,
        family=family,
        hooks=hooks,
        graphs=find_graphs(folder, manifest, family),
        labels=_labels(folder, manifest, config) if has_labels else (),
        fixed=None if family == "vision-language" else _preprocessing(folder, manifest),
        activation=manifest.output.activation or huggingface.activation_of(config),
    )


def _family(manifest: Manifest, config: Mapping[str, Any], folder: Path) -> tuple[str, tuple[str, ...]]:
    """Return the family and the hooks: the manifest's, else those of the architecture."""
    config_path = folder / huggingface.CONFIG_NAME
    try:
        family, hooks = family_of(config, config_path)
    except ManifestError:
        if not (folder / MANIFEST_NAME).is_file():
            raise
        # Any graph can be a classifier; the others are written for their architectures.
        family, hooks = "classifier", FAMILIES["classifier"].hooks
    if manifest.family not in (None, family):
        if FAMILIES[manifest.family or ""].architectures and manifest.family != "classifier":
            architectures = ", ".join(FAMILIES[manifest.family or ""].architectures)
            raise ManifestError(
                f"{folder / MANIFEST_NAME}: family: a {manifest.family} needs a config.json whose "
                f"architectures has one of {architectures}"
            )
        family, hooks = manifest.family, FAMILIES[manifest.family].hooks
    if manifest.prompts.answer is not None and "enrich_answer" not in hooks:
        hooks = (*hooks, "enrich_answer")
    return family, manifest.hooks or hooks


def _labels(folder: Path, manifest: Manifest, config: Mapping[str, Any]) -> tuple[str, ...]:
    if manifest.labels is None:
        return huggingface.labels_of(config, folder / huggingface.CONFIG_NAME)
    if not isinstance(manifest.labels, str):
        return manifest.labels
    path = inside(folder, manifest.labels, "labels")
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
    found = huggingface.find_processor(folder)
    if found is None:
        names = " nor ".join(huggingface.PROCESSOR_NAMES)
        raise ManifestError(f"{folder / MANIFEST_NAME}: input: missing, and there is neither {names}")
    return huggingface.input_of(*found).preprocessing()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
