"""``enrich models quantise``: a smaller form of a model, kept only if it says what the model says."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enrich.errors import ConversionRefused, ManifestError, UsageError
from enrich.hub import agreement
from enrich.hub.agreement import PICTURES_MIN, THRESHOLDS, Agreement, counted, known_pictures
from enrich.hub.environments import Say
from enrich.hub.forms import SUFFIXES, Form, check_tools, write_float16, write_rounded, write_static
from enrich.hub.present import Present, write_manifest
from enrich.hub.staging import install, staging
from enrich.inference.devices import Device
from enrich.inference.families import open_model
from enrich.inference.layout import find_graphs
from enrich.inference.manifest import MANIFEST_NAME, read_json
from enrich.inference.session import open_session
from enrich.inference.stored import StoredModel

if TYPE_CHECKING:
    from enrich.types import Rendition

__all__ = ["Quantised", "Request", "full_form", "quantise"]

#: What the form is called that a model of the user's own has.
_ORIGINAL = "original"
#: Forms that may be made into others, the first that is there.
_FULL = ("fp32", _ORIGINAL)
_CPU = Device("cpu")


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted.

    Parameters
    ----------
    form : {"fp16", "int8", "q4"}
        Which form.
    threshold : float or None
        How high the figure that decides must be; None: as ``THRESHOLDS`` says.
    is_forced : bool
        Keep the form whatever it says.
    """

    form: Form
    threshold: float | None = None
    is_forced: bool = False


@dataclass(frozen=True, slots=True)
class Quantised:
    """A form that was made and kept.

    Parameters
    ----------
    folder : Path
        The model's.
    form : {"fp16", "int8", "q4"}
        Which form.
    agreement : Agreement
        What was measured.
    threshold : float
        How high the figure that decides had to be.
    bytes_before, bytes_after : int
        Of the graphs with their weights.
    note : str
        How it was made.
    """

    folder: Path
    form: Form
    agreement: Agreement
    threshold: float
    bytes_before: int
    bytes_after: int
    note: str


def full_form(model: StoredModel) -> tuple[str, StoredModel]:
    """Return the name of a model's form of full precision, and the model in that form.

    Raises
    ------
    UsageError
        It has none. Not retryable.
    """
    variants = model.manifest.variants
    if not variants:
        return _ORIGINAL, model
    name = next((name for name in _FULL if name in variants), None)
    if name is None:
        raise UsageError(
            f"{model.name} has only {', '.join(variants)}, and other forms are made from full precision: "
            f"enrich models pull {model.name} --variant fp32"
        )
    manifest = model.manifest.model_copy(update={"variant": name})
    graphs = find_graphs(model.folder, manifest, model.family)
    return name, dataclasses.replace(model, manifest=manifest, graphs=graphs)


def quantise(
    model: StoredModel,
    models_dir: Path,
    request: Request,
    *,
    pictures: Sequence[Rendition],
    calibration: Sequence[Rendition] = (),
    say: Say = lambda line: None,
) -> Quantised:
    """Make a form of a model, measure it, and let the model use it; or leave the store as it is.

    Parameters
    ----------
    model : StoredModel
        Of the store; of one that came with enrich a copy is made in ``models_dir``.
    models_dir : Path
        The user's models.
    request : Request
        What is wanted.
    pictures : sequence of Rendition
        What both forms are asked about.
    calibration : sequence of Rendition
        What int8 learns the ranges from, in graphs that take nothing but pictures of one size; without
        them only weights are rounded.
    say : callable
        Told in a line what is done now.

    Raises
    ------
    UsageError
        There are no pictures that the model knows, no full precision to start from, or nothing to round.
        Not retryable.
    ExtraMissing
        onnx is not installed. Not retryable.
    ConversionRefused
        A graph cannot be rewritten, or the form does not agree well enough. Not retryable.
    ManifestError, InferenceError
        The model, or its new form, does not run. Not retryable.
    StoreError
        The store cannot be written.
    """
    check_tools()
    pictures = known_pictures(model, pictures, "to compare the forms with", say)
    if calibration:
        calibration = known_pictures(model, calibration, "to learn ranges from", say)
    base, full = full_form(model)
    with staging(models_dir, model.name) as folder:
        shutil.rmtree(folder)
        _copy(model.folder, folder, is_own=model.folder.parent == models_dir)
        try:
            done = _make(full, folder, request, pictures, calibration, say)
        except (ConversionRefused, ManifestError, UsageError):
            shutil.rmtree(folder, ignore_errors=True)
            raise
        _describe(folder, base, full, done)
        return dataclasses.replace(done.quantised, folder=install(models_dir, model.name))


@dataclass(frozen=True, slots=True)
class _Done:
    quantised: Quantised
    graphs: Mapping[str, str]


def _make(
    model: StoredModel,
    folder: Path,
    request: Request,
    pictures: Sequence[Rendition],
    calibration: Sequence[Rendition],
    say: Say,
) -> _Done:
    graphs, notes = {}, []
    for part, source in model.graphs.items():
        place = source.relative_to(model.folder.resolve())
        target = folder / place.with_name(f"{_stem(place)}{SUFFIXES[request.form]}.onnx")
        say(f"writing {target.name}")
        _drop(target)  # of an earlier try, and perhaps a name of a file in use
        how = _write(model, source, target, request.form, calibration)
        if how and _bytes(target) >= _bytes(source):
            # Weights that branches of a condition share are not halved.
            _drop(target)
            how = None
        graphs[part] = target if how else folder / place
        notes.append(f"{part}: {how or 'as it was'}")
    if all(note.endswith("as it was") for note in notes):
        is_learning = request.form == "int8" and not calibration
        could = "; --calibrate FOLDER rounds convolutions too" if is_learning else ""
        raise UsageError(f"{model.name}: no graph becomes smaller as {request.form}{could}")
    say(f"asking both forms about {counted(len(pictures))}")
    if len(pictures) < PICTURES_MIN:
        verb = "says" if len(pictures) == 1 else "say"
        say(f"{counted(len(pictures))} {verb} little: {PICTURES_MIN} or more like those to come say more")
    before = _observe(model, pictures)
    after = _observe(dataclasses.replace(model, graphs=graphs), pictures)
    found = agreement.compare(model.family, before, after)
    threshold = THRESHOLDS[model.family][1] if request.threshold is None else request.threshold
    if not found.score >= threshold and not request.is_forced:
        raise ConversionRefused(
            f"{model.name} as {request.form}: {found.figure} is {found.score:.3f} on "
            f"{counted(found.pictures)}, below {threshold:g}: nothing was changed; --threshold lowers the "
            "bar and --force ignores it"
        )
    sizes = [sum(map(_bytes, set(paths.values()))) for paths in (model.graphs, graphs)]
    names = {part: path.relative_to(folder).as_posix() for part, path in graphs.items()}
    note = "; ".join(notes)
    return _Done(Quantised(folder, request.form, found, threshold, sizes[0], sizes[1], note), names)


def _write(
    model: StoredModel, source: Path, target: Path, form: Form, calibration: Sequence[Rendition]
) -> str | None:
    """Write one graph; return how, or None where there was nothing to change."""
    if form == "fp16":
        return "float16" if write_float16(source, target) else None
    if form == "q4":
        return "weights of 4 bits" if write_rounded(source, target, 4) else None
    if calibration and model.fixed is not None:
        inputs = open_session(source, _CPU).inputs
        # A graph that takes words too would need words to learn from.
        if len(inputs) == 1 and len(inputs[0].shape) == 4:
            tensors = [model.fixed.tensor(rendition) for rendition in calibration]
            if write_static(source, target, inputs[0].name, tensors):
                return f"static int8, ranges of {counted(len(tensors))}"
    return "weights of 8 bits" if write_rounded(source, target, 8) else None


def _observe(model: StoredModel, pictures: Sequence[Rendition]) -> list[Any]:
    with contextlib.closing(open_model(model, _CPU)) as opened:
        return agreement.observe(opened, pictures)


def _describe(folder: Path, base: str, model: StoredModel, done: _Done) -> None:
    """Add the form to manifest.json and choose it; the revision is that of the weights, and stays."""
    path = folder / MANIFEST_NAME
    manifest = read_json(path) if path.is_file() else {}
    variants = dict(manifest.get("variants", {}))
    whole = model.folder.resolve()
    own = {part: graph.relative_to(whole).as_posix() for part, graph in model.graphs.items()}
    variants.setdefault(base, {"graphs": own})
    quantised = done.quantised
    variants[quantised.form] = {
        "graphs": dict(done.graphs),
        "agreement": {**quantised.agreement.figures, "pictures": quantised.agreement.pictures},
        "note": quantised.note,
    }
    # The form says which graph it is.
    manifest.pop("graph", None)
    files = {one["path"]: one for one in manifest.get("files", ())}
    for name in sorted(set(done.graphs.values())):
        for file in _with_weights(folder / name):
            files[file.relative_to(folder).as_posix()] = _file(folder, file)
    write_manifest(
        folder,
        {
            **manifest,
            "revision": model.revision,
            "variant": quantised.form,
            "variants": variants,
            "files": list(files.values()),
        },
    )


def _file(folder: Path, path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": path.relative_to(folder).as_posix(), "sha256": digest, "bytes": path.stat().st_size}


def _copy(source: Path, folder: Path, *, is_own: bool) -> None:
    if is_own:
        Present(source, {}).share(folder)
    else:
        # Not names of the same files: those of the package are not the user's.
        shutil.copytree(source, folder)
    if (source / MANIFEST_NAME).is_file():
        shutil.copyfile(source / MANIFEST_NAME, folder / MANIFEST_NAME)


def _stem(place: Path) -> str:
    stem = place.stem
    for suffix in SUFFIXES.values():
        stem = stem.removesuffix(suffix)
    return stem


def _with_weights(graph: Path) -> list[Path]:
    """Return a graph's file, and the one with its weights, if it has one."""
    return [path for path in graph.parent.iterdir() if path.name in (graph.name, f"{graph.name}.data")]


def _drop(graph: Path) -> None:
    for path in (graph, graph.with_name(f"{graph.name}.data")):
        path.unlink(missing_ok=True)


def _bytes(graph: Path) -> int:
    return sum(path.stat().st_size for path in graph.parent.iterdir() if path.name.startswith(graph.name))
