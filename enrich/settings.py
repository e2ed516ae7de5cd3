"""config.yaml, ``ENRICH_*`` variables and the command line, as one frozen object.

The command line goes before the environment, the environment before the file, the file before
the defaults. Relative paths of the file are relative to its folder, all others to the working
folder. Whatever is wrong is one ConfigError that names the line or the variable.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import pydantic
import pydantic_settings

from enrich import configfile
from enrich.configfile import Lines
from enrich.errors import ConfigError
from enrich.origins import PREFIX, Origins
from enrich.sections import LONGEST_SECONDS, Api, Metrics, Providers, Root, Step, Webhook

if TYPE_CHECKING:
    from pydantic_settings import PydanticBaseSettingsSource

__all__ = ["CONFIG_NAME", "Metrics", "Root", "Settings", "Step", "load", "sample"]

CONFIG_NAME = "config.yaml"

_SECTIONS = ("api", "filters", "metrics", "plugin_dirs", "providers", "roots", "steps", "webhooks")

_STEP_NAME = r"^[A-Za-z][A-Za-z0-9_-]{0,62}$"

_Values = TypeVar("_Values", dict[str, Any], "Settings")


class Settings(pydantic_settings.BaseSettings):
    """Everything that can be configured."""

    model_config = pydantic_settings.SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    catalog: str = pydantic.Field("sqlite:///catalog.db", description="The catalog, as an SQLAlchemy URL.")
    models_dir: Path = pydantic.Field(Path("~/.cache/enrich/models"), description="The model store.")
    device: str = pydantic.Field(
        "auto",
        pattern=r"^(auto|cpu|openvino|cuda(:\d+)?)$",
        description="Where models run: auto, cpu, openvino, cuda or cuda:N; all but auto strict.",
    )
    providers: Providers = pydantic.Field(
        {}, validate_default=True, description="Options of cuda, openvino and TensorRT."
    )
    unload_after_seconds: float = pydantic.Field(
        0,
        ge=0,
        le=LONGEST_SECONDS,
        description="A model that nobody asked for so long leaves the memory until it is asked; 0: never.",
    )
    recycle_above_mb: float | None = pydantic.Field(
        None,
        ge=1,
        description="Start anew if unloading all models leaves so much more memory in use than before them.",
    )
    plugin_dirs: tuple[Path, ...] = pydantic.Field((), description="Folders of loose plugin files.")
    max_attempts: int = pydantic.Field(
        3, ge=1, le=100, description="Tries before a job is recorded as failed."
    )
    max_pixels: int = pydantic.Field(
        128_000_000, ge=1, description="Pictures with more pixels are refused, unread."
    )
    batch_size: int = pydantic.Field(16, ge=1, le=256, description="Assets claimed and described together.")
    threads: int = pydantic.Field(
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        le=256,
        description="Threads that read and decode files.",
    )
    lease_seconds: float = pydantic.Field(
        60, ge=1, le=LONGEST_SECONDS, description="How long a worker that stops answering keeps its jobs."
    )
    drain_seconds: float = pydantic.Field(
        30, ge=0, le=LONGEST_SECONDS, description="How long the daemon finishes what it began after SIGTERM."
    )
    metrics: Metrics = pydantic.Field(
        {}, validate_default=True, description="Where Prometheus reads what the daemon does."
    )
    api: Api = pydantic.Field({}, validate_default=True, description="What `enrich serve` offers over HTTP.")
    filters: dict[Annotated[str, pydantic.Field(pattern=_STEP_NAME)], Step] = pydantic.Field(
        default_factory=dict, description="What looks at pictures and prompts before any model does."
    )
    webhooks: tuple[Webhook, ...] = pydantic.Field((), description="Who is told of assets, over HTTP.")
    roots: tuple[Root, ...] = pydantic.Field((), description="The folders under watch.")
    steps: dict[Annotated[str, pydantic.Field(pattern=_STEP_NAME)], Step] = pydantic.Field(
        default_factory=dict,
        description="One job per asset and step; steps claimed together run in this order.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[pydantic_settings.BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is passed in and nothing else: ``load`` does the merging."""
        return (init_settings,)


def load(
    config: Path | None = None, *, overrides: Mapping[str, Any] | None = None, folder: Path | None = None
) -> Settings:
    """Read the settings.

    Parameters
    ----------
    config : Path or None
        The file; None takes ``config.yaml`` of ``folder`` if there is one, else the sample's steps.
    overrides : mapping or None
        Values of the command line by key; a dotted key reaches into a section.
    folder : Path or None
        The working folder; the process's own unless given.

    Raises
    ------
    ConfigError
        The file is missing or wrong, or a variable or override is. Not retryable.
    """
    folder = Path.cwd() if folder is None else folder
    if config is None and (folder / CONFIG_NAME).is_file():
        config = folder / CONFIG_NAME
    values, lines = _of_sample() if config is None else _of_file(config)
    beside = folder if config is None else Path(os.path.abspath(config)).parent
    values = _anchored(values, beside, Origins(lines, {}, {}))
    environment, given = _environment(), _nest(overrides or {})
    origins = Origins(lines, environment, given)
    try:
        settings = Settings(**_merge(_merge(values, environment), given))
    except pydantic.ValidationError as error:
        raise ConfigError(origins.explain(error)) from error
    # What the file did not say is relative to the working folder.
    settings = _anchored(settings, folder, origins)
    for step in (*settings.steps.values(), *settings.filters.values()):
        step._folder = beside
    if "api" in settings.steps:
        raise ConfigError(
            origins.of(("steps", "api")) + "the name is that of requests over HTTP; choose another one"
        )
    for index, complaint in _overlaps([root.path for root in settings.roots]):
        raise ConfigError(origins.of(("roots", index, "path")) + complaint)
    return settings


def sample() -> str:
    """Return the commented config.yaml that ``enrich init`` writes."""
    return Path(__file__).with_name(CONFIG_NAME).read_text(encoding="utf-8")


def _of_sample() -> tuple[dict[str, Any], Lines]:
    """Return the sample's steps and nothing else: it watches nothing."""
    values, _ = configfile.parse(sample(), CONFIG_NAME)
    return {"steps": values["steps"]}, Lines(None, CONFIG_NAME)


def _of_file(config: Path) -> tuple[dict[str, Any], Lines]:
    values, lines = configfile.read(config)
    # A section whose entries are all commented out is as good as absent.
    return {key: value for key, value in values.items() if value is not None or key not in _SECTIONS}, lines


def _anchored(values: _Values, folder: Path, origins: Origins) -> _Values:
    """Return the settings, or what shall become them, with all that is relative made absolute."""
    for place, anchor in _RELATIVE.items():
        try:
            values = _replaced(values, place, anchor, folder)
        except RuntimeError as error:  # the only one of expanduser
            raise ConfigError(
                origins.of(place) + "nobody knows the home folder behind its ~; write the path in full"
            ) from error
    return values


def _replaced(
    values: Any, place: Sequence[str], anchor: Callable[[str | Path, Path], str | Path], folder: Path
) -> Any:
    """Return ``values`` with a place of it anchored; types that are wrong there are left to validation."""
    if not place:
        return anchor(values, folder) if isinstance(values, str | Path) else values
    first, *rest = place
    if first == "*" and isinstance(values, list | tuple):
        return type(values)(_replaced(value, rest, anchor, folder) for value in values)
    if isinstance(values, pydantic.BaseModel):
        return values.model_copy(update={first: _replaced(getattr(values, first), rest, anchor, folder)})
    if isinstance(values, dict) and first in values:
        return {**values, first: _replaced(values[first], rest, anchor, folder)}
    return values


def _anchor_path(path: str | Path, folder: Path) -> Path:
    # Not resolve(): a root that is a symbolic link keeps the name its owner knows.
    return Path(os.path.abspath(folder / Path(path).expanduser()))


def _anchor_url(url: str | Path, folder: Path) -> str:
    prefix, _, name = str(url).partition(":///")
    if not prefix.startswith("sqlite") or not name or name.startswith((":", "file:")):
        return str(url)
    return f"{prefix}:///{_anchor_path(name, folder)}"


#: What is relative to a folder; ``*`` is every entry of a list.
_RELATIVE: Mapping[tuple[str, ...], Callable[[str | Path, Path], str | Path]] = {
    ("catalog",): _anchor_url,
    ("models_dir",): _anchor_path,
    ("plugin_dirs", "*"): _anchor_path,
    ("metrics", "file"): _anchor_path,
    ("api", "uploads_dir"): _anchor_path,
    ("providers", "tensorrt", "cache_dir"): _anchor_path,
    ("roots", "*", "path"): _anchor_path,
}


def _overlaps(roots: Sequence[Path]) -> Iterator[tuple[int, str]]:
    """Yield which root lies inside another or is named twice, and a sentence that says so.

    Paths are compared as they are written. Links are not followed: a network share that hangs
    would hang every command.
    """
    for index, inner in enumerate(roots):
        for other, outer in enumerate(roots):
            if inner == outer and other < index:
                yield index, f"{inner} is a root already (roots.{other})"
            elif inner != outer and inner.is_relative_to(outer):
                yield index, f"{inner} lies inside the root {outer}, which covers it"


def _environment() -> dict[str, Any]:
    try:
        return pydantic_settings.EnvSettingsSource(Settings)()
    except pydantic_settings.SettingsError as error:
        variable = PREFIX + str(error).split('"')[1].upper()  # it names the field, quoted
        raise ConfigError(
            f"environment: {variable}: not JSON; a list or section is written as JSON"
        ) from error


def _nest(overrides: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in overrides.items():
        section = nested
        *parents, last = key.split(".")
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = value
    return nested


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        merged[key] = (
            _merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
        )
    return merged
