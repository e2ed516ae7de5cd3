"""A model that was pulled before and lies in the store."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enrich.errors import UsageError
from enrich.inference.manifest import MANIFEST_NAME, Manifest, parse_manifest, read_json

__all__ = ["Present", "Pulled", "pulled_of", "write_manifest"]


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull did.

    Parameters
    ----------
    name : str
        The model's, in the store.
    folder : Path
        Where it is.
    revision : str
        The commit that it is of.
    variant : str or None
        The form of its graphs that is in use.
    note : str or None
        Which parts have another form.
    bytes : int
        Of all its files.
    is_new : bool
        Whether anything came; else it was all there.
    """

    name: str
    folder: Path
    revision: str
    variant: str | None
    note: str | None
    bytes: int
    is_new: bool


@dataclass(frozen=True, slots=True)
class Present:
    """A folder of the store with the manifest of an earlier pull.

    Parameters
    ----------
    folder : Path
        The model's.
    manifest : mapping
        manifest.json as written.
    """

    folder: Path
    manifest: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path, source: str) -> Present | None:
        """Look for a model that came from ``source``; None where there is nothing of that name.

        Raises
        ------
        UsageError
            It is of another origin. Not retryable.
        ManifestError
            Its manifest is wrong. Not retryable.
        """
        if not os.path.lexists(folder):
            return None
        path = folder / MANIFEST_NAME
        values = read_json(path) if path.is_file() else {}
        said = parse_manifest(Manifest, values, path).source
        if said != source:
            raise UsageError(
                f"{folder} is there already and is {'of ' + said if said else 'your own'}, not of {source}; "
                f"choose another name with --as, or run: enrich models remove {folder.name}"
            )
        return cls(folder, values)

    @property
    def revision(self) -> str | None:
        """The commit it is of."""
        revision = self.manifest.get("revision")
        return None if revision is None else str(revision)

    def has(self, variant: str | None) -> bool:
        """Tell whether a variant is here; any is where none is asked for."""
        variants = self.manifest.get("variants", {})
        return variant is None or variant in variants or not variants

    def choose(self, variant: str | None) -> Pulled:
        """Let the model use one of its variants from now on."""
        manifest = dict(self.manifest)
        if variant is not None and manifest.get("variants") and manifest.get("variant") != variant:
            manifest["variant"] = variant
            write_manifest(self.folder, manifest)
        return pulled_of(self.folder, manifest, is_new=False)

    def share(self, folder: Path) -> set[str]:
        """Let another folder have the same files, as names of the same bytes; return their paths."""
        shared = set()
        for path in sorted(self.folder.rglob("*")):
            place = path.relative_to(self.folder)
            if path.is_symlink() or not path.is_file() or place.name == MANIFEST_NAME:
                continue
            target = folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            try:
                os.link(path, target)
            except OSError:  # not every file system has them
                shutil.copyfile(path, target)
            shared.add(place.as_posix())
        return shared


def pulled_of(folder: Path, manifest: Mapping[str, Any], *, is_new: bool) -> Pulled:
    """Return what is to be said of a model that is here."""
    variant = manifest.get("variant")
    return Pulled(
        folder.name,
        folder,
        str(manifest["revision"]),
        variant,
        manifest.get("variants", {}).get(variant, {}).get("note"),
        sum(one.get("bytes") or 0 for one in manifest.get("files", ())),
        is_new,
    )


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write manifest.json, whole or not at all."""
    draft = folder / f".{MANIFEST_NAME}"
    with draft.open("w", encoding="utf-8") as file:
        file.write(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / MANIFEST_NAME)
