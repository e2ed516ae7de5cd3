"""The schema of manifest.json: what a model is, knows, takes and gives. docs/models.md is its manual."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import PIL.Image
import pydantic

from enrich.errors import ManifestError
from enrich.inference.families import FAMILIES
from enrich.inference.preprocess import Colour, Layout, Preprocessing
from enrich.inference.templates import AnswerTemplate, CaptionTemplate, LabelTemplate
from enrich.languages import LanguageTag

__all__ = [
    "MANIFEST_NAME",
    "Activation",
    "BoxForm",
    "Crop",
    "DetectionOutput",
    "Domain",
    "Input",
    "Manifest",
    "ModelFile",
    "Output",
    "Prompts",
    "Resize",
    "Variant",
    "ZeroShot",
    "parse_manifest",
    "read_json",
]

MANIFEST_NAME = "manifest.json"

Activation = Literal["softmax", "sigmoid", "none"]

#: Left, top, right, bottom; the middle and the size; or left, top and the size.
BoxForm = Literal["corners", "centre", "corner"]

_Schema = TypeVar("_Schema", bound=pydantic.BaseModel)

_Pixels = Annotated[int, pydantic.Field(ge=1, le=8192)]
_Number = Annotated[float, pydantic.Field(allow_inf_nan=False)]
_Divisor = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
_Text = Annotated[str, pydantic.Field(min_length=1)]


def _filter(value: Any) -> Any:
    names = {filter_.name.lower(): filter_ for filter_ in PIL.Image.Resampling}
    if isinstance(value, str):
        if value.lower() not in names:
            raise ValueError(f"is none of {', '.join(names)}")
        return names[value.lower()]
    return value


def _labels(value: Any) -> Any:
    names = [value] if isinstance(value, str) else value
    if (
        not isinstance(names, list | tuple)
        or not names
        or not all(name and isinstance(name, str) for name in names)
    ):
        raise ValueError("must be a list of names, or the name of a file with one on each line")
    return value


def _family(value: str) -> str:
    if value not in FAMILIES:
        raise ValueError(f"unknown family; known: {', '.join(FAMILIES)}")
    return value


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class ModelFile(_Part):
    """A file of the model's folder, and what it must be."""

    path: _Text
    sha256: Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, pydantic.Field(ge=0)] | None = None


class Resize(_Part):
    """Either the shorter edge, keeping the aspect, or both edges; in px."""

    shortest_edge: _Pixels | None = None
    height: _Pixels | None = None
    width: _Pixels | None = None

    @pydantic.model_validator(mode="after")
    def _one_form(self) -> Resize:
        given = (self.shortest_edge is not None, self.height is not None, self.width is not None)
        if given not in {(True, False, False), (False, True, True)}:
            raise ValueError("give either shortest_edge, or height and width")
        return self

    @property
    def value(self) -> int | tuple[int, int]:
        """The shorter edge, or (height, width)."""
        if self.height is not None and self.width is not None:
            return self.height, self.width
        assert self.shortest_edge is not None
        return self.shortest_edge


class Crop(_Part):
    """The centre crop, in px."""

    height: _Pixels
    width: _Pixels

    @pydantic.model_validator(mode="before")
    @classmethod
    def _square(cls, value: Any) -> Any:
        return {"height": value, "width": value} if isinstance(value, int) else value


class Input(_Part):
    """How the graph wants its pictures; see ``Preprocessing`` for the arithmetic."""

    name: _Text | None = None
    layout: Layout = "NCHW"
    colour: Colour = "RGB"
    resize: Resize | None = None
    resample: Annotated[PIL.Image.Resampling, pydantic.BeforeValidator(_filter)] = (
        PIL.Image.Resampling.BILINEAR
    )
    crop: Crop | None = None
    scale: _Divisor = 1 / 255
    mean: tuple[_Number, _Number, _Number] = (0.0, 0.0, 0.0)
    std: tuple[_Divisor, _Divisor, _Divisor] = (1.0, 1.0, 1.0)

    @pydantic.model_validator(mode="after")
    def _one_size(self) -> Input:
        self.preprocessing()
        return self

    def preprocessing(self) -> Preprocessing:
        return Preprocessing(
            resize=self.resize.value if self.resize else None,
            crop=(self.crop.height, self.crop.width) if self.crop else None,
            resample=self.resample,
            scale=self.scale,
            mean=self.mean,
            std=self.std,
            colour=self.colour,
            layout=self.layout,
        )


class Output(_Part):
    """Which output holds the scores, and what makes probabilities of them."""

    name: _Text | None = None
    activation: Activation | None = None


class DetectionOutput(_Part):
    """How a detector's outputs read as boxes with labels.

    A ``pair`` is an output of boxes, (B, A, 4), and one of scores, (B, A, C). ``rows`` is a single one with
    both, (B, A, 4 + C) or, with whether anything is there before the labels, (B, A, 5 + C); its axes may
    stand the other way round. ``fastestdet`` is that network's map, (B, 5 + C, H, W).
    """

    form: Literal["pair", "rows", "fastestdet"] = "pair"
    boxes: _Text | None = None
    scores: _Text | None = None
    box: BoxForm = "corners"
    unit: Literal["share", "px"] = "share"
    activation: Activation = "none"
    background: _Text | None = None
    threshold: Annotated[float, pydantic.Field(gt=0, le=1)] = 0.5
    overlap: Annotated[float, pydantic.Field(gt=0, le=1)] = 0.45
    limit: Annotated[int, pydantic.Field(ge=1, le=1000)] = 100


class Domain(_Part):
    """The pictures the model knows: others are refused instead of guessed at."""

    flat_share_min: Annotated[float, pydantic.Field(ge=0, le=1)]


_Length = Literal["short", "normal", "long", "alt_text"]
# BCP 47, as far as its shape goes: "en", "pt-BR", "zh-Hans".


class Prompts(_Part):
    """What the model is told when it shall write; filled by ``str.format``."""

    caption: CaptionTemplate | dict[_Length, CaptionTemplate] | None = None
    answer: AnswerTemplate | None = None


class ZeroShot(_Part):
    """How a dual encoder's cosines become confidences, and how a label is put to it."""

    scale: _Divisor | None = None
    bias: _Number | None = None
    activation: Literal["softmax", "sigmoid"] | None = None
    template: LabelTemplate | None = None


class Variant(_Part):
    """The same weights in another form (fp32, fp16, int8, q4): its graphs, and how far it agrees.

    ``graphs`` maps parts (``model``, ``vision``, ``text``, ``encoder``, ``decoder``, ``embed`` ...) to files
    of the folder; parts that are absent are those that lie there under their usual names.
    """

    graphs: dict[_Text, _Text]
    agreement: dict[_Text, _Number] = {}
    note: str | None = None


class Manifest(_Part):
    """One model's manifest.json, with its defaults.

    Absent ``family``, ``labels``, ``input`` and ``output.activation`` are read from the Hugging Face
    files of the folder.
    """

    name: _Text | None = None
    family: Annotated[str, pydantic.AfterValidator(_family)] | None = None
    revision: _Text | None = None
    licence: str | None = None
    source: str | None = None
    description: str | None = None
    knows: str | None = None
    graph: _Text | None = None
    variant: _Text | None = None
    variants: dict[_Text, Variant] = {}
    files: tuple[ModelFile, ...] = ()
    labels: Annotated[tuple[str, ...] | str, pydantic.BeforeValidator(_labels)] | None = None
    input: Input | None = None
    output: Output = Output()
    detection: DetectionOutput = DetectionOutput()
    hooks: tuple[_Text, ...] = ()
    domain: Domain | None = None
    prompts: Prompts = Prompts()
    languages: tuple[LanguageTag, ...] = ()
    max_tokens: dict[_Length | Literal["answer"], Annotated[int, pydantic.Field(ge=1, le=4096)]] = {}
    zero_shot: ZeroShot = ZeroShot()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises
    ------
    ManifestError
        It cannot be read, or holds something else. Not retryable.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: cannot be read: {error}") from error
    except json.JSONDecodeError as error:
        raise ManifestError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from error
    # Python's own limits: digits of a number, and depth.
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{path}: cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise ManifestError(f"{path}: must hold a JSON object")
    return value


def parse_manifest(schema: type[_Schema], values: Any, path: Path) -> _Schema:
    """Check values that were read from ``path``.

    Raises
    ------
    ManifestError
        One line that names the file and the key. Not retryable.
    """
    try:
        return schema.model_validate(values)
    except pydantic.ValidationError as error:
        first, *others = error.errors(include_url=False)
        key = ".".join(str(part) for part in first["loc"])
        message = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        more = f" (and {len(others)} more)" if others else ""
        raise ManifestError(f"{path}: {key + ': ' if key else ''}{message}{more}") from error
