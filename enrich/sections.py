"""The sections of config.yaml; ``settings`` is the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

__all__ = [
    "LONGEST_SECONDS",
    "Api",
    "Cuda",
    "Metrics",
    "OpenVino",
    "Providers",
    "RateLimit",
    "Root",
    "Section",
    "Step",
    "TensorRt",
    "Webhook",
]

#: A year; what waits cannot be told to wait without end.
LONGEST_SECONDS = 366 * 86_400


class Section(pydantic.BaseModel):
    """What sections have in common: they are frozen, and an unknown key is an error."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class Root(Section):
    """A folder under watch."""

    path: Path = pydantic.Field(description="The folder.")
    mode: Literal["auto", "events", "poll"] = pydantic.Field("auto", description="How changes are noticed.")
    settle_seconds: float = pydantic.Field(
        2.0, ge=0, le=LONGEST_SECONDS, description="A file is complete once it was unchanged for so long."
    )
    rescan_seconds: float = pydantic.Field(
        300, gt=0, le=LONGEST_SECONDS, description="How often the whole root is looked through."
    )
    follow_symlinks: bool = pydantic.Field(False, description="Enter linked folders and take linked files.")
    ignore: tuple[str, ...] = pydantic.Field(
        ("*.part", "~*"), description="Names (shell patterns) of files and folders to leave alone."
    )


class Step(Section):
    """One entry of ``steps``: a plugin, perhaps a model, and the plugin's own options."""

    model_config = pydantic.ConfigDict(frozen=True, extra="allow")

    plugin: str = pydantic.Field(description="The plugin's name.")
    hook: str | None = pydantic.Field(
        None, description="Which of the plugin's work hooks, if it has several."
    )
    model: str | None = pydantic.Field(None, description="A model of the model store.")
    priority: int = pydantic.Field(0, ge=-100, le=100, description="Higher is claimed earlier.")
    deadline_seconds: float | None = pydantic.Field(
        None,
        gt=0,
        le=LONGEST_SECONDS,
        description="How long one batch may take; the plugin is told by context.deadline.",
    )
    pages: Literal["first", "all"] = pydantic.Field(
        "first", description="Which pages of a file are looked at."
    )
    size_px: int | None = pydantic.Field(
        None,
        ge=16,
        le=16384,
        description="The longest edge of the renditions; the plugin's wish, or its model's, if not set.",
    )

    _folder: Path = pydantic.PrivateAttr(default_factory=Path)

    @property
    def folder(self) -> Path:
        """What relative paths among the plugin's own options are relative to."""
        return self._folder

    @property
    def options(self) -> dict[str, Any]:
        """The plugin's own options, as written."""
        return dict(self.model_extra or {})


class RateLimit(Section):
    """How many requests a key may make."""

    minute: int = pydantic.Field(5, ge=1, description="Within any minute.")
    hour: int = pydantic.Field(300, ge=1, description="Within any hour.")


class Api(Section):
    """What `enrich serve` offers over HTTP."""

    host: str = pydantic.Field("127.0.0.1", min_length=1, description="The address that is listened at.")
    port: int = pydantic.Field(8080, ge=0, le=65535, description="Its port; 0 takes a free one.")
    default_model: str = pydantic.Field(
        "drawings-vlm",
        min_length=1,
        description="Who answers where no model is named; must caption and answer.",
    )
    allow_hosts: tuple[str, ...] = pydantic.Field(
        (), description="Private hosts that pictures and webhooks may use."
    )
    rate_limit: RateLimit = pydantic.Field(
        {}, validate_default=True, description="Per key, unless the key says otherwise."
    )
    keep: bool = pydantic.Field(False, description="Whether pictures and answers go into the catalog.")
    cost: dict[str, Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]] = pydantic.Field(
        default_factory=dict, description="What a request costs by model, in USD."
    )
    sync_timeout_seconds: float = pydantic.Field(
        60, gt=0, le=LONGEST_SECONDS, description="How long a synchronous task is waited for."
    )
    deadline_seconds: float = pydantic.Field(
        120, gt=0, le=LONGEST_SECONDS, description="After so long a request is given up."
    )
    max_queue: int = pydantic.Field(
        128, ge=1, le=10_000, description="Requests at work or waiting at once; more are refused."
    )
    max_upload_bytes: int = pydantic.Field(20_000_000, ge=1, description="The largest picture that is taken.")
    max_pixels: int = pydantic.Field(64_000_000, ge=1, description="And the most pixels it may have.")
    uploads_dir: Path = pydantic.Field(Path("uploads"), description="Where pictures that were sent are kept.")
    upload_quota_bytes: int = pydantic.Field(
        1_000_000_000, ge=0, description="What one key may have there at once."
    )
    retention_seconds: float = pydantic.Field(
        86_400, gt=0, le=LONGEST_SECONDS, description="How long uploads and results can be asked for."
    )


class Metrics(Section):
    """Where the daemon's counts can be read by Prometheus."""

    file: Path | None = pydantic.Field(
        None, description="A text file for node_exporter's textfile collector; its name ends in .prom."
    )
    port: int | None = pydantic.Field(None, ge=1, le=65535, description="A port that serves /metrics.")
    host: str = pydantic.Field("127.0.0.1", min_length=1, description="The address of that port.")


class Webhook(Section):
    """Who is told of assets that came in by folders, see the plugin ``webhook``."""

    url: str = pydantic.Field(min_length=1, repr=False, description="Where to post; http or https.")
    events: tuple[Literal["ingested", "annotated"], ...] = pydantic.Field(
        ("annotated",), min_length=1, description="What of: new assets, steps that were done, or both."
    )
    steps: tuple[str, ...] = pydantic.Field((), description="Of which steps; of all if empty.")


class Cuda(Section):
    """How models run on an NVIDIA device."""

    memory_limit_bytes: int | None = pydantic.Field(
        None, ge=2**20, description="What each graph may take of the device's memory; all of it unless set."
    )
    tf32: bool = pydantic.Field(
        False, description="Let it multiply float32 by 10 bits of the fraction: faster, and less exact."
    )


class OpenVino(Section):
    """How models run through OpenVINO."""

    device_type: str = pydantic.Field(
        "CPU",
        pattern=r"^(CPU|GPU(\.\d+)?|NPU)$",
        description="Which device of Intel's: CPU, GPU, GPU.N or NPU.",
    )
    precision: Literal["f32", "bf16", "f16"] = pydantic.Field(
        "f32", description="What it computes in: f32, bf16 or f16; less is faster where the hardware has it."
    )


class TensorRt(Section):
    """Whether NVIDIA's TensorRT runs what it can, and CUDA the rest."""

    enabled: bool = pydantic.Field(False, description="Use it wherever the device is cuda.")
    fp16: bool = pydantic.Field(False, description="Let it compute in 16 bits.")
    cache_dir: Path | None = pydantic.Field(
        None, description="Where the engines it builds are kept; built anew at each start unless set."
    )


class Providers(Section):
    """Options of the places where models run; a place that is not used takes no notice of its own."""

    cuda: Cuda = pydantic.Field({}, validate_default=True, description="How models run on an NVIDIA device.")
    openvino: OpenVino = pydantic.Field(
        {}, validate_default=True, description="How models run through OpenVINO."
    )
    tensorrt: TensorRt = pydantic.Field(
        {}, validate_default=True, description="Whether TensorRT runs what it can, and CUDA the rest."
    )
