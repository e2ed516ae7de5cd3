"""``enrich models export``: weights of transformers made into ONNX graphs, proven, and stored."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enrich.errors import ConversionRefused, ManifestError, UsageError
from enrich.exporters.recipes import CLASSIFIERS, RECIPES, Recipe, recipe_of
from enrich.hub.entry import Listed
from enrich.hub.environments import Say, python_of
from enrich.hub.exporting import Exported, run_exporter
from enrich.hub.parcel import OnProgress
from enrich.hub.present import Present, write_manifest
from enrich.hub.pull import fetch_weights
from enrich.hub.staging import install, staging
from enrich.hub.target import parse_target
from enrich.inference.devices import Device
from enrich.inference.families import open_model, try_out
from enrich.inference.layout import inside
from enrich.inference.manifest import MANIFEST_NAME, read_json
from enrich.inference.store import check_name
from enrich.inference.stored import read_model

__all__ = ["FP32", "Export", "Origin", "export", "origin_of"]

#: The variant that an export is.
FP32 = "fp32"

_CONFIG_NAME = "config.json"
_INDEX_NAME = "model.safetensors.index.json"
_DATA_SUFFIXES = (".json", ".jinja", ".model", ".txt")
_SMALL_BYTES = 100_000_000
#: Inside the staging folder; a fetch that was interrupted goes on from there.
_WEIGHTS = "weights"
_HASH_DIGITS = 12
_PICKLED = "pickled weights (.bin, .pt) can hold programs and are never read"


@dataclass(frozen=True, slots=True)
class Origin:
    """What is exported.

    Parameters
    ----------
    name : str
        What the model shall be called in the store.
    folder : Path or None
        The user's folder with the weights; None where they come from the hub.
    reference : str
        What was asked for.
    """

    name: str
    folder: Path | None
    reference: str


@dataclass(frozen=True, slots=True)
class Export:
    """A model that was exported.

    Parameters
    ----------
    name : str
        The model's, in the store.
    folder : Path
        Where it is.
    figures : mapping of str to float
        How far each graph lies from torch, as a share of torch's largest number.
    """

    name: str
    folder: Path
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Weights:
    folder: Path
    source: str
    revision: str
    licence: str | None
    listed: Listed | None


def origin_of(reference: str, name: str | None = None) -> Origin:
    """Tell what a user means: a folder, a name of the model list, or ``hf:owner/name[@revision]``.

    A folder is one that is written with a slash, or that is there.

    Raises
    ------
    UsageError, ModelMissing
        It is none of them, cannot be called so, or needs no export. Not retryable.
    """
    path = Path(reference).expanduser()
    is_folder = path.is_dir() or (not reference.startswith("hf:") and reference.startswith(("/", ".", "~")))
    if not is_folder:
        target = parse_target(reference, name)
        if target.listed is not None and target.listed.files:
            raise UsageError(f"{target.listed.name} is published as ONNX; run: {target.listed.command}")
        return Origin(target.name, None, reference)
    if not path.is_dir():
        raise UsageError(f"{reference}: no such folder")
    chosen = path.resolve().name if name is None else name
    check_name(chosen)
    return Origin(chosen, path.resolve(), reference)


def export(
    origin: Origin,
    models_dir: Path,
    *,
    say: Say = lambda line: None,
    on_progress: OnProgress = lambda progress: None,
    find_python: Callable[[Any, Say], Path] = python_of,
) -> Export:
    """Bring a model's weights into the store as ONNX graphs, or leave the store as it is.

    Parameters
    ----------
    origin : Origin
        See ``origin_of``.
    models_dir : Path
        The user's models.
    say : callable
        Told in a line what is done now.
    on_progress : callable
        Told of bytes as they come.
    find_python : callable
        Returns the interpreter of an environment.

    Raises
    ------
    UsageError
        The folder is no export of transformers, or a model of that name is of another origin.
    ModelMissing, FetchFailed
        The weights may not be had, or did not come; the latter retryable where that may pass.
    ConfigError, ExtraMissing
        There is no environment to export in.
    ConversionRefused
        The model cannot be exported, or its graphs do not say what torch says.
    ManifestError
        It is of an architecture that nothing here runs.
    StoreError
        The store cannot be written.
    """
    if origin.folder is not None:
        # A wrong folder is found before anything is made.
        _recipe(origin.folder)
    with staging(models_dir, origin.name) as folder:
        _clear(folder, keep=_WEIGHTS)
        weights = _weights(origin, folder / _WEIGHTS, on_progress)
        Present.read(models_dir / origin.name, weights.source)
        try:
            done = _convert(weights, folder, say, find_python)
        except (ConversionRefused, ManifestError, UsageError):
            # There is nothing to go on with another time.
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder / _WEIGHTS, ignore_errors=True)
        _write_files(folder)
        return Export(origin.name, install(models_dir, origin.name), done.figures)


def _convert(weights: _Weights, folder: Path, say: Say, find_python: Callable[[Any, Say], Path]) -> Exported:
    recipe = _recipe(weights.folder)
    python = find_python(recipe.environment, say)
    made = folder / "made"
    made.mkdir()
    done = run_exporter(python, weights.folder, made, say)
    _copy_data(weights.folder, made)
    for path in sorted(made.iterdir()):
        path.rename(folder / path.name)
    made.rmdir()
    _describe(weights, folder, done)
    say("running the graphs once on a grey picture")
    with contextlib.closing(open_model(read_model(folder), Device("cpu"))) as model:
        try_out(model)
    return done


def _weights(origin: Origin, place: Path, on_progress: OnProgress) -> _Weights:
    if origin.folder is not None:
        return _Weights(origin.folder, str(origin.folder), _hash_of(origin.folder), None, None)
    target = parse_target(origin.reference, origin.name)
    repository = fetch_weights(target, place, on_progress)
    licence = repository.licence or (target.listed.licence if target.listed is not None else None)
    return _Weights(place, f"hf:{repository.name}", repository.commit, licence, target.listed)


def _recipe(folder: Path) -> Recipe:
    """Return how the weights of a folder are exported, having looked whether they can be."""
    config = folder / _CONFIG_NAME
    if not config.is_file():
        raise UsageError(f"{folder}: there is no {_CONFIG_NAME}; name a folder as save_pretrained leaves it")
    said = read_json(config).get("architectures")
    names = [str(name) for name in said] if isinstance(said, list) else []
    found = recipe_of(names)
    if found is None:
        known = ", ".join((*RECIPES, f"...{CLASSIFIERS}"))
        raise ManifestError(
            f"{config}: architectures: {', '.join(names) or 'none'}: none is exported; known: {known}"
        )
    if not any(folder.glob("*.safetensors")):
        raise UsageError(
            f"{folder}: there is no .safetensors file; {_PICKLED}: save the model again with "
            "save_pretrained(safe_serialization=True) where you trust it"
        )
    if (folder / _INDEX_NAME).is_file():
        shards = read_json(folder / _INDEX_NAME).get("weight_map", {})
        for name in sorted({str(shard) for shard in dict(shards).values()}):
            if "/" in name or not (folder / name).is_file():
                raise ManifestError(f"{folder / _INDEX_NAME}: weight_map: {name} is no file of the folder")
    return found[1]


def _copy_data(source: Path, folder: Path) -> None:
    """Copy what is read beside the graphs: configuration, tokenizer, templates; never programs."""
    for path in sorted(source.iterdir()):
        is_data = path.suffix in _DATA_SUFFIXES and not path.name.endswith(".index.json")
        if is_data and path.is_file() and path.name != MANIFEST_NAME and path.stat().st_size <= _SMALL_BYTES:
            shutil.copyfile(path, folder / path.name)


def _describe(weights: _Weights, folder: Path, done: Exported) -> None:
    """Write manifest.json, with what was measured."""
    listed = weights.listed.manifest if weights.listed is not None else {}
    manifest: dict[str, Any] = {
        **listed,
        **done.manifest,
        "name": folder.name,
        "source": weights.source,
        "revision": weights.revision,
        **({"licence": weights.licence} if weights.licence else {}),
    }
    write_manifest(folder, manifest)
    versions = ", ".join(f"{name} {version}" for name, version in done.versions.items())
    graphs = read_model(folder).graphs
    manifest["variant"] = FP32
    manifest["variants"] = {
        FP32: {
            "graphs": {part: path.relative_to(folder.resolve()).as_posix() for part, path in graphs.items()},
            "agreement": {f"{graph}_apart": apart for graph, apart in done.figures.items()},
            "note": f"exported with {versions}; compared with torch at other sizes and batches",
        }
    }
    write_manifest(folder, manifest)


def _write_files(folder: Path) -> None:
    """Add each file's hash to manifest.json."""
    files = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MANIFEST_NAME:
            place = inside(folder, path.relative_to(folder).as_posix(), "files")
            with place.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = place.stat().st_size
            files.append({"path": path.relative_to(folder).as_posix(), "sha256": digest, "bytes": size})
    write_manifest(folder, {**read_json(folder / MANIFEST_NAME), "files": files})


def _hash_of(folder: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256-{whole.hexdigest()[:_HASH_DIGITS]}"


def _clear(folder: Path, *, keep: str) -> None:
    for path in folder.iterdir():
        if path.name == keep:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
