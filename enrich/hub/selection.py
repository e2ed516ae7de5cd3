"""Which files of a repository make a model: one graph for each part, in one variant, and what it reads."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from enrich.errors import ModelMissing, UsageError

__all__ = ["VARIANTS", "Selection", "companions", "graphs_of", "select", "small_files"]

#: What the names of graphs end with before ``.onnx``, the first that is there; as transformers.js has them.
VARIANTS: Mapping[str, tuple[str, ...]] = {
    "fp32": ("",),
    "fp16": ("_fp16",),
    "int8": ("_int8", "_quantized"),
    "q4": ("_q4",),
    "q4f16": ("_q4f16",),
}
#: What stands in for a part that does not come in the variant that was chosen.
_INSTEAD = ("fp32", "fp16", "int8", "q4", "q4f16")

_Parts = Mapping[str, tuple[str, ...]]

_PICTURES_FIRST = {"encoder": ("encoder_model", "vision_encoder", "vision_model")}
_THREE = {"vision": ("vision_encoder",), "embed": ("embed_tokens",), "decoder": ("decoder_model_merged",)}
#: By family: the parts it needs with the names their graphs may have; the first form that is there whole.
_NEEDED: Mapping[str, Sequence[_Parts]] = {
    "classifier": ({"model": ("model",)},),
    "detector": ({"model": ("model",)},),
    "dual-encoder": (
        {"vision": ("vision_model",), "text": ("text_model",)},
        {"model": ("model",)},
    ),
    "encoder-decoder": (
        {**_PICTURES_FIRST, "decoder": ("decoder_model_merged",)},
        {
            **_PICTURES_FIRST,
            "decoder": ("decoder_model",),
            "decoder_with_past": ("decoder_with_past_model",),
        },
    ),
    "florence": ({**_THREE, "encoder": ("encoder_model",)},),
    "vision-language": (_THREE,),
}
#: A graph that is alone needs no special name.
_ONE_GRAPH = {"classifier", "detector"}
_OPTIONAL: Mapping[str, _Parts] = {"encoder-decoder": {"text_encoder": ("text_encoder",)}}

#: Graphs lie in the repository's root, or in its ``onnx`` folder.
_GRAPH = re.compile(r"(onnx/)?[A-Za-z0-9][\w.+-]*\.onnx")
_SMALL = re.compile(r"[A-Za-z0-9][\w.+-]*\.(json|txt|jinja|model)")
#: Nothing reads these.
_NEEDLESS = re.compile(r".*\.index\.json|requirements.*\.txt|manifest\.json")
_SMALL_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class Selection:
    """The graphs of a model.

    Parameters
    ----------
    variant : str
        What was chosen.
    graphs : mapping of str to str
        Paths in the repository, by part.
    instead : mapping of str to str
        The variant of each part that does not come in the chosen one.
    """

    variant: str
    graphs: Mapping[str, str]
    instead: Mapping[str, str]

    @property
    def note(self) -> str | None:
        """Which parts are of another variant, for people."""
        if not self.instead:
            return None
        return ", ".join(f"{part} is {variant}" for part, variant in self.instead.items())


def graphs_of(names: Collection[str]) -> list[str]:
    """Return the graphs among a repository's files."""
    return sorted(name for name in names if _GRAPH.fullmatch(name))


def small_files(sizes: Mapping[str, int | None]) -> list[str]:
    """Return what a model reads besides its graphs: configuration, tokenizer, templates, licence."""
    return sorted(
        name
        for name, size in sizes.items()
        if _SMALL.fullmatch(name) and not _NEEDLESS.fullmatch(name) and (size or 0) <= _SMALL_BYTES
    )


def companions(graph: str, names: Collection[str]) -> list[str]:
    """Return the files that hold a graph's weights: ``model.onnx_data``, ``model.onnx.data`` and so on."""
    form = re.compile(re.escape(graph) + r"[._]data[\w.-]*")
    return sorted(name for name in names if form.fullmatch(name))


def select(
    sizes: Mapping[str, int | None],
    family: str,
    wanted: str | None,
    preferred: Sequence[str],
    *,
    with_whole: bool = False,
    where: str = "",
) -> Selection:
    """Choose the graphs of a model.

    Parameters
    ----------
    sizes : mapping of str to int
        The repository's files.
    family : str
        One of ``enrich.inference.families.FAMILIES``.
    wanted : str or None
        A variant that must be there, for one part at least.
    preferred : sequence of str
        Variants that would do, the best first, if none is wanted; all parts have to come in it.
    with_whole : bool
        A dual encoder's whole graph as well, in its smallest form: only it tells SigLIP's scale.
    where : str
        What the repository is called in messages.

    Raises
    ------
    UsageError
        The wanted variant is not there. Not retryable.
    ModelMissing
        No such model can be made of these files. Not retryable.
    """
    graphs = graphs_of(sizes)
    forms = [found for needed in _NEEDED[family] if (found := _parts(needed, graphs)) is not None]
    if not forms and family in _ONE_GRAPH and len(graphs) == 1:
        forms = [{"model": {"fp32": graphs[0]}}]
    if not forms:
        stems = " or ".join(
            " with ".join(f"{names[0]}.onnx" for names in needed.values()) for needed in _NEEDED[family]
        )
        raise ModelMissing(
            f"{where}: a {family} model needs {stems}, and has {', '.join(graphs) or 'no .onnx file'}; "
            f"run: enrich models export {where}"
        )
    parts = forms[0]
    parts |= _parts(_OPTIONAL.get(family, {}), graphs) or {}
    variant = _choose(parts, wanted, preferred, where)
    chosen, instead = {}, {}
    for part, variants in parts.items():
        own = variant if variant in variants else next(one for one in _INSTEAD if one in variants)
        chosen[part] = variants[own]
        if own != variant:
            instead[part] = own
    if with_whole and "model" not in chosen:
        wholes = [name for found in [_variants_of("model", graphs)] for name in found.values()]
        if wholes:
            chosen["model"] = min(wholes, key=lambda name: _weight(name, sizes))
    return Selection(variant, chosen, instead)


def _choose(
    parts: Mapping[str, Mapping[str, str]], wanted: str | None, preferred: Sequence[str], where: str
) -> str:
    if wanted is not None:
        if any(wanted in variants for variants in parts.values()):
            return wanted
        have = [one for one in VARIANTS if any(one in variants for variants in parts.values())]
        raise UsageError(f"{where} has no variant {wanted}; it has: {', '.join(have)}")
    whole = [one for one in (*preferred, *_INSTEAD) if all(one in variants for variants in parts.values())]
    return whole[0] if whole else _INSTEAD[0]


def _parts(needed: _Parts, graphs: Sequence[str]) -> dict[str, dict[str, str]] | None:
    """Return the graphs of each part by variant; None where a part is missing."""
    found = {}
    for part, stems in needed.items():
        variants: dict[str, str] = next((v for stem in stems if (v := _variants_of(stem, graphs))), {})
        if not variants:
            return None
        found[part] = variants
    return found


def _variants_of(stem: str, graphs: Sequence[str]) -> dict[str, str]:
    found = {}
    for variant, endings in VARIANTS.items():
        for place in (f"{folder}{stem}{ending}.onnx" for ending in endings for folder in ("onnx/", "")):
            if place in graphs:
                found[variant] = place
                break
    return found


def _weight(graph: str, sizes: Mapping[str, int | None]) -> int:
    return sum(sizes[name] or 0 for name in (graph, *companions(graph, sizes)))
