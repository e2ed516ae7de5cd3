"""``enrich models pull``: a model of the list, or any of the hub with ONNX files, into the store."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from enrich.errors import ManifestError, ModelMissing, UsageError
from enrich.hub.entry import Listed
from enrich.hub.parcel import OnProgress, Parcel
from enrich.hub.present import Present, Pulled, pulled_of, write_manifest
from enrich.hub.repository import Repository, is_offline, look_up
from enrich.hub.selection import VARIANTS, Selection, companions, graphs_of, select, small_files
from enrich.hub.staging import install, staging
from enrich.hub.target import Target
from enrich.hub.web import WebSource
from enrich.inference.external_data import external_files, external_locations
from enrich.inference.families import family_of
from enrich.inference.manifest import read_json
from enrich.inference.stored import read_model

__all__ = ["Pulled", "fetch_weights", "pull"]

_WEIGHTS = re.compile(r"[A-Za-z0-9][\w.-]*\.safetensors(\.index\.json)?")
_CONFIG_NAME = "config.json"


def pull(
    target: Target,
    models_dir: Path,
    *,
    variant: str | None = None,
    device: str | None = None,
    on_progress: OnProgress = lambda progress: None,
) -> Pulled:
    """Bring a model into the store, whole or not at all; do nothing where it is there.

    Parameters
    ----------
    target : Target
        See ``parse_target``.
    models_dir : Path
        The user's models.
    variant : str or None
        The form of the graphs; see ``enrich.hub.selection.VARIANTS``.
    device : str or None
        ``cpu``, ``cuda`` or ``openvino``: the variant is what suits it. None: for a CPU, and whatever
        variant is there already will do.
    on_progress : callable
        Told of bytes as they come.

    Raises
    ------
    UsageError
        The variant is not there; another process pulls; or the folder is not of this repository.
    ModelMissing
        There is no such repository, revision or ONNX file; or it may not be had. Not retryable.
    FetchFailed
        The hub did not answer, or not well; retryable where that may pass.
    StoreError
        The store has no room, or may not be written.
    ManifestError
        It came, and is no model that can be run.
    """
    if variant is not None and variant not in VARIANTS:
        raise UsageError(f"no variant {variant}; there are: {', '.join(VARIANTS)}")
    web = target.listed if target.listed is not None and target.listed.files else None
    if web is not None and variant not in (None, *web.variants):
        raise UsageError(f"{target.name} comes as {', '.join(web.variants)} only")
    here = Present.read(models_dir / target.name, target.source)
    if not target.is_published:
        if here is None or not here.has(variant):
            raise ModelMissing(_unpublished(target, here))
        return here.choose(variant)
    # What suits a device can be told only from what else there is.
    may_do = here if here is not None and here.has(variant) and (device is None or is_offline()) else None
    if may_do is not None and (may_do.revision == target.revision or is_offline()):
        return may_do.choose(variant)
    source: Repository | WebSource
    source = WebSource(web) if web is not None else look_up(target.repository, target.revision)
    if may_do is not None and may_do.revision == source.commit:
        return may_do.choose(variant)
    with staging(models_dir, target.name) as folder:
        try:
            return _Pull(target, source, models_dir, folder, here, on_progress).run(variant, device)
        # There is nothing to go on with another time; there is where only a token was missing.
        except ManifestError as error:
            shutil.rmtree(folder, ignore_errors=True)
            # Its files are known by where they came from: the folder is gone.
            raise ManifestError(str(error).replace(str(folder), target.source)) from error
        except UsageError:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def fetch_weights(
    target: Target, folder: Path, on_progress: OnProgress = lambda progress: None
) -> Repository:
    """Bring what an exporter reads, safetensors and configuration, into a folder; go on where a try ended.

    Returns
    -------
    Repository
        What it is of: ``commit`` and ``licence``.

    Raises
    ------
    ModelMissing
        There is no such repository or revision, it may not be had, or it has pickled weights only, which
        are never read. Not retryable.
    FetchFailed
        The hub did not answer, or not well; retryable where that may pass.
    StoreError
        There is no room.
    OSError
        The folder cannot be written.
    """
    # Published ONNX files may lie elsewhere; an exporter reads the weights themselves.
    name = target.listed.repository if target.listed is not None else target.repository
    repository = look_up(name, target.revision)
    weights = [path for path in repository.files if _WEIGHTS.fullmatch(path)]
    if not any(path.endswith(".safetensors") for path in weights):
        raise ModelMissing(
            f"hf:{name} has no .safetensors file; pickled weights can hold programs and are never read. Its "
            "discussions may have a conversion: name that as hf:owner/name@refs/pr/NUMBER"
        )
    folder.mkdir(parents=True, exist_ok=True)
    Parcel(folder, on_progress).fetch(repository, [*small_files(repository.sizes), *weights])
    return repository


class _Pull:
    """One pull, within its staging folder."""

    def __init__(
        self,
        target: Target,
        source: Repository | WebSource,
        models_dir: Path,
        folder: Path,
        here: Present | None,
        on_progress: OnProgress,
    ) -> None:
        self._target, self._source = target, source
        self._models_dir, self._folder = models_dir, folder
        # Files of another revision are of no use.
        self._here = here if here is not None and here.revision == source.commit else None
        self._parcel = Parcel(folder, on_progress)

    def run(self, variant: str | None, device: str | None) -> Pulled:
        kept = self._here.share(self._folder) if self._here is not None else set()
        selection = None
        if isinstance(self._source, WebSource):
            self._parcel.fetch(self._source, self._source.files)
        else:
            selection = self._select(self._source, variant, device)
            if self._here is not None and self._here.has(selection.variant):
                shutil.rmtree(self._folder)
                return self._here.choose(selection.variant)
            self._fetch(self._source, selection)
        self._parcel.clear(kept)
        manifest = self._write(selection)
        read_model(self._folder)
        for path in self._parcel.files:
            if path.endswith(".onnx"):
                external_files(self._folder / path)
        folder = install(self._models_dir, self._target.name)
        return pulled_of(folder, manifest, is_new=True)

    def _select(self, repository: Repository, variant: str | None, device: str | None) -> Selection:
        where = f"hf:{repository.name}"
        if not graphs_of(repository.files):
            raise ModelMissing(f"{where} has no ONNX files; run: enrich models export {self._asked()}")
        if _CONFIG_NAME not in small_files(repository.sizes):
            raise ModelMissing(
                f"{where} has no {_CONFIG_NAME}, or one that is far too large, so what it is cannot be told "
                "(docs/models.md)"
            )
        self._parcel.fetch(repository, [_CONFIG_NAME])
        config = read_json(self._folder / _CONFIG_NAME)
        family, _ = family_of(config, Path(f"{where}/{_CONFIG_NAME}"))
        return select(
            repository.sizes,
            family,
            variant,
            _preferred(device, self._target.listed),
            # Nothing else tells its scale.
            with_whole="SiglipModel" in (config.get("architectures") or ()),
            where=where,
        )

    def _fetch(self, repository: Repository, selection: Selection) -> None:
        graphs = list(dict.fromkeys(selection.graphs.values()))
        weights = [path for graph in graphs for path in companions(graph, repository.files)]
        self._parcel.fetch(repository, [*small_files(repository.sizes), *graphs, *weights])
        for graph in graphs:  # weights under a name of their own
            beside = Path(graph).parent
            named = {(beside / one).as_posix() for one in external_locations(self._folder / graph)}
            self._parcel.fetch(repository, sorted(named & repository.files.keys()))

    def _write(self, selection: Selection | None) -> dict[str, Any]:
        listed, old = self._target.listed, self._here.manifest if self._here is not None else {}
        files = {one["path"]: one for one in old.get("files", ())}
        files |= {path: one.model_dump() for path, one in self._parcel.files.items()}
        manifest: dict[str, Any] = {
            **(listed.manifest if listed is not None else {}),
            **old,
            "name": self._target.name,
            "source": self._target.source,
            "revision": self._source.commit,
            "licence": self._source.licence or (listed.licence if listed is not None else None),
            "files": list(files.values()),
        }
        if selection is not None:
            chosen = {"graphs": dict(selection.graphs), "note": selection.note}
            manifest["variants"] = {**old.get("variants", {}), selection.variant: chosen}
            manifest["variant"] = selection.variant
        write_manifest(self._folder, manifest)
        return manifest

    def _asked(self) -> str:
        listed = self._target.listed
        return listed.name if listed is not None else f"hf:{self._target.repository}"


def _unpublished(target: Target, here: Present | None) -> str:
    said = f"{target.name} is published as weights, not as ONNX files that enrich runs; "
    if here is not None:
        return f"{said}it is here, and other forms are made: enrich models quantise {target.name} --to FORM"
    assert target.listed is not None
    alias = "" if target.name == target.listed.name else f" --as {target.name}"
    return (
        f"{said}run: {target.listed.command}{alias} (or, if a repository has such files: enrich models pull "
        f"hf:owner/name --as {target.name})"
    )


def _preferred(device: str | None, listed: Listed | None) -> tuple[str, ...]:
    """Return the variants that suit a device, the best first."""
    if device is not None and device.startswith("cuda"):
        return "fp16", "fp32"
    # OpenVINO refuses dynamically quantised graphs when it loads them.
    if device == "openvino" or listed is None:
        return ("fp32",)
    return listed.on_cpu, "fp32"
