"""Where a model's graphs lie: as optimum leaves them, or as the hub's ONNX repositories have them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from enrich.errors import ManifestError
from enrich.inference.manifest import MANIFEST_NAME, Manifest

__all__ = ["find_file", "find_graphs", "inside"]

#: Where repositories of the hub keep their graphs; the other files lie beside that folder.
_GRAPHS_FOLDER = "onnx"
_WHOLE = "model.onnx"

_VISION, _TEXT = "vision_model.onnx", "text_model.onnx"
_EMBED = "embed_tokens.onnx"
_ENCODERS = ("encoder_model.onnx", "vision_encoder.onnx", _VISION)
_DECODERS = ("decoder_model_merged.onnx", "decoder_model.onnx")


#: The files of families whose graphs have one name each, by their part; what takes pictures first.
_PARTS: Mapping[str, Mapping[str, str]] = {
    "vision-language": {
        "vision": "vision_encoder.onnx",
        "embed": _EMBED,
        "decoder": "decoder_model_merged.onnx",
    },
    "florence": {
        "vision": "vision_encoder.onnx",
        "embed": _EMBED,
        "encoder": "encoder_model.onnx",
        "decoder": "decoder_model_merged.onnx",
    },
}


def find_graphs(folder: Path, manifest: Manifest, family: str) -> dict[str, Path]:
    """Return the model's .onnx files by their part; the one that takes pictures is first.

    Parameters
    ----------
    folder : Path
        The model's.
    manifest : Manifest
        ``graph`` goes before what is looked for.
    family : str
        A classifier has ``model``; a dual encoder ``model``, or ``vision`` and ``text`` (then ``model``
        too, where it is there); an encoder-decoder has ``encoder`` and ``decoder``, and may have
        ``text_encoder`` and ``decoder_with_past``; a vision-language model has ``vision``, ``embed`` and
        ``decoder``, and Florence ``encoder`` besides.

    Raises
    ------
    ManifestError
        A graph is missing, or which one it is cannot be told. Not retryable.
    """
    if manifest.graph is not None:
        path = inside(folder, manifest.graph, "graph")
        if not path.is_file():
            raise ManifestError(f"{folder / MANIFEST_NAME}: graph: there is no file {manifest.graph}")
        if family == "encoder-decoder" or family in _PARTS:
            raise ManifestError(
                f"{folder / MANIFEST_NAME}: graph: {family} models have several, with names of their own; "
                "leave it out"
            )
        return {"model": path}
    named = _variant(folder, manifest)
    if family == "dual-encoder":
        return _dual_encoder(folder, named)
    if family == "encoder-decoder":
        return _encoder_decoder(folder, named)
    if family in _PARTS:
        return _parts(folder, _PARTS[family], named)
    return {"model": named.get("model") or _only_graph(folder)}


def find_file(folder: Path, name: str) -> Path | None:
    """Return a file of the model's folder, or of its ``onnx`` folder; None where there is none.

    Raises
    ------
    ManifestError
        The file leads out of the folder. Not retryable.
    """
    for place in (name, f"{_GRAPHS_FOLDER}/{name}"):
        if (folder / place).is_file():
            return inside(folder, place, "file")
    return None


def inside(folder: Path, name: str, key: str) -> Path:
    """Resolve a file's name, so that neither "..", nor an absolute path, nor a link leads out of the folder.

    Raises
    ------
    ManifestError
        It leads out. Not retryable.
    """
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ManifestError(
            f"{folder / MANIFEST_NAME}: {key}: {name} leads out of the model's folder; copy the file into it"
        )
    return path


def _only_graph(folder: Path) -> Path:
    for place in (folder, folder / _GRAPHS_FOLDER):
        graphs = sorted(path.name for path in place.glob("*.onnx"))
        # Beside the hub's model.onnx lie its quantised forms; one beside another in the folder itself
        # may be anything.
        if len(graphs) == 1 or (place != folder and _WHOLE in graphs):
            name = _WHOLE if _WHOLE in graphs else graphs[0]
            return inside(folder, str((place / name).relative_to(folder)), "graph")
        if graphs:
            found = ", ".join(graphs)
            break
    else:
        found = "none"
    raise ManifestError(f"{folder / MANIFEST_NAME}: graph: name the .onnx file; the folder has {found}")


def _variant(folder: Path, manifest: Manifest) -> dict[str, Path]:
    """Return the graphs of the chosen variant by their part; none where no variant is chosen."""
    if manifest.variant is None:
        return {}
    if manifest.variant not in manifest.variants:
        raise ManifestError(
            f"{folder / MANIFEST_NAME}: variant: there is no {manifest.variant} among its variants; "
            f"{'it has ' + ', '.join(manifest.variants) if manifest.variants else 'it has none'}"
        )
    graphs = manifest.variants[manifest.variant].graphs
    found = {part: inside(folder, name, "variants") for part, name in graphs.items()}
    for part, path in found.items():
        if not path.is_file():
            raise ManifestError(
                f"{folder / MANIFEST_NAME}: variants.{manifest.variant}: there is no file {graphs[part]}"
            )
    return found


def _dual_encoder(folder: Path, named: Mapping[str, Path]) -> dict[str, Path]:
    vision, text, whole = (
        named.get(part) or find_file(folder, name)
        for part, name in (("vision", _VISION), ("text", _TEXT), ("model", _WHOLE))
    )
    if vision and text:
        # Both halves of one variant; the whole graph may be of another.
        is_own = whole is not None and (not named or "model" in named)
        return {"vision": vision, "text": text} | ({"model": whole} if whole and is_own else {})
    if whole:
        return {"model": whole}
    raise _missing(folder, f"{_WHOLE}, or {_VISION} with {_TEXT}")


def _encoder_decoder(folder: Path, named: Mapping[str, Path]) -> dict[str, Path]:
    encoder = named.get("encoder") or _first(folder, _ENCODERS)
    decoder = named.get("decoder") or _first(folder, _DECODERS)
    if encoder is None:
        raise _missing(folder, " or ".join(_ENCODERS))
    if decoder is None:
        raise _missing(folder, " or ".join(_DECODERS))
    later = named.get("decoder_with_past")
    if later is None and "merged" not in decoder.name and "decoder" not in named:
        later = find_file(folder, "decoder_with_past_model.onnx")
    found: Mapping[str, Path | None] = {
        "encoder": encoder,
        "decoder": decoder,
        "text_encoder": named.get("text_encoder") or find_file(folder, "text_encoder.onnx"),
        "decoder_with_past": later,
    }
    return {part: path for part, path in found.items() if path is not None}


def _parts(folder: Path, names: Mapping[str, str], named: Mapping[str, Path]) -> dict[str, Path]:
    found = {part: named.get(part) or find_file(folder, name) for part, name in names.items()}
    missing = [names[part] for part, path in found.items() if path is None]
    if missing:
        raise _missing(folder, " and no ".join(missing))
    return {part: path for part, path in found.items() if path is not None}


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((path for name in names if (path := find_file(folder, name))), None)


def _missing(folder: Path, needed: str) -> ManifestError:
    return ManifestError(
        f"{folder}: there is no {needed}; make the graphs with enrich models export, or copy them there "
        "(docs/models.md)"
    )
