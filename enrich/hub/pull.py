"""``enrich models pull``: a model of the list, or any of the hub with ONNX files, into the store."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enrich.errors import ManifestError, ModelMissing, UsageError
from enrich.hub import listed as model_list
from enrich.hub.entry import Listed
from enrich.hub.parcel import OnProgress, Parcel
from enrich.hub.present import Present, Pulled, pulled_of, write_manifest
from enrich.hub.repository import Repository, is_offline, look_up
from enrich.hub.selection import VARIANTS, Selection, companions, graphs_of, select, small_files
from enrich.hub.staging import install, staging
from enrich.hub.web import WebSource
from enrich.inference.external_data import external_files, external_locations
from enrich.inference.families import family_of
from enrich.inference.manifest import read_json
from enrich.inference.store import check_name
from enrich.inference.stored import read_model

__all__ = ["Pulled", "Target", "fetch_weights", "parse_target", "pull"]

_HUB = "hf:"
_WEIGHTS = re.compile(r"[A-Za-z0-9][\w.-]*\.safetensors(\.index\.json)?")
_CONFIG_NAME = "config.json"


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be pulled.

    Parameters
    ----------
    name : str
        Its folder in the store.
    repository : str
        ``owner/name``.
    revision : str
        A commit, a branch or a tag.
    listed : Listed or None
        What the model list says of it.
    """

    name: str
    repository: str
    revision: str
    listed: Listed | None

    @property
    def source(self) -> str:
        """Where it comes from, as its manifest says it."""
        if self.listed is not None and self.listed.files:
            return f"https://github.com/{self.listed.repository}"
        return f"{_HUB}{self.repository}"


def parse_target(text: str, name: str | None = None) -> Target:
    """Read what a user wants: a name of the list, an alias, or ``hf:owner/name[@revision]``.

    Parameters
    ----------
    text : str
        What was said.
    name : str or None
        What the model shall be called in the store instead.

    Raises
    ------
    UsageError
        ``name`` is none. Not retryable.
    ModelMissing
        It is neither on the list nor of the hub. Not retryable.
    """
    place, _, revision = text.partition("@") if text.startswith(_HUB) else (text, "", "")
    listed = model_list.find(place)
    if listed is None and not place.startswith(_HUB):
        names = ", ".join(model_list.LISTED)
        raise ModelMissing(f'"{text}" is not on the list; it has {names}; others: hf:owner/name[@revision]')
    repository = place.removeprefix(_HUB) if place.startswith(_HUB) else ""
    if listed is not None:
        # A repository that was named is the one that is meant, also where the list knows another one.
        repository = repository if "/" in repository else listed.onnx or listed.repository
        revision = revision or listed.revision
    chosen = name or (listed.name if listed else repository.partition("/")[2])
    check_name(chosen)
    return Target(chosen, repository, revision or "main", listed)


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
        except (ManifestError, UsageError):
            # There is nothing to go on with another time; there is where only a token was missing.
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
        if _CONFIG_NAME not in repository.files:
            raise ModelMissing(
                f"{where} has no {_CONFIG_NAME}, so what it is cannot be told (docs/models.md)"
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


def _preferred(device: str | None, listed: Listed | None) -> tuple[str, ...]:
    """Return the variants that suit a device, the best first."""
    if device is not None and device.startswith("cuda"):
        return "fp16", "fp32"
    # OpenVINO refuses dynamically quantised graphs when it loads them.
    if device == "openvino" or listed is None:
        return ("fp32",)
    return listed.on_cpu, "fp32"
