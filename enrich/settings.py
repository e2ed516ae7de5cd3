"""config.yaml, ``ENRICH_*`` variables and the command line, as one frozen object.

The command line goes before the environment, the environment before the file, the file before
the defaults. Relative paths of the file are relative to its folder, all others to the working
folder. Whatever is wrong is one ConfigError that names the line or the variable.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pydantic
import pydantic_settings

from enrich import configfile
from enrich.configfile import Lines
from enrich.errors import ConfigError
from enrich.sections import LONGEST_SECONDS as _LONGEST_SECONDS
from enrich.sections import Api, Providers, Webhook
from enrich.sections import Section as _Section

if TYPE_CHECKING:
    from pydantic_settings import PydanticBaseSettingsSource

__all__ = ["CONFIG_NAME", "Metrics", "Root", "Settings", "Step", "load", "sample"]

CONFIG_NAME = "config.yaml"

_PREFIX = "ENRICH_"

_SECTIONS = ("api", "filters", "metrics", "plugin_dirs", "providers", "roots", "steps", "webhooks")

_STEP_NAME = r"^[A-Za-z][A-Za-z0-9_-]{0,62}$"


class Root(_Section):
    """A folder under watch."""

    path: Path = pydantic.Field(description="The folder.")
    mode: Literal["auto", "events", "poll"] = pydantic.Field("auto", description="How changes are noticed.")
    settle_seconds: float = pydantic.Field(
        2.0, ge=0, le=_LONGEST_SECONDS, description="A file is complete once it was unchanged for so long."
    )
    rescan_seconds: float = pydantic.Field(
        300, gt=0, le=_LONGEST_SECONDS, description="How often the whole root is looked through."
    )
    follow_symlinks: bool = pydantic.Field(False, description="Enter linked folders and take linked files.")
    ignore: tuple[str, ...] = pydantic.Field(
        ("*.part", "~*"), description="Names (shell patterns) of files and folders to leave alone."
    )


class Step(_Section):
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
        le=_LONGEST_SECONDS,
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


class Metrics(_Section):
    """Where the daemon's counts can be read by Prometheus."""

    file: Path | None = pydantic.Field(
        None, description="A text file for node_exporter's textfile collector; its name ends in .prom."
    )
    port: int | None = pydantic.Field(None, ge=1, le=65535, description="A port that serves /metrics.")
    host: str = pydantic.Field("127.0.0.1", min_length=1, description="The address of that port.")


class Settings(pydantic_settings.BaseSettings):
    """Everything that can be configured."""

    model_config = pydantic_settings.SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid"
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
        le=_LONGEST_SECONDS,
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
        60, ge=1, le=_LONGEST_SECONDS, description="How long a worker that stops answering keeps its jobs."
    )
    drain_seconds: float = pydantic.Field(
        30, ge=0, le=_LONGEST_SECONDS, description="How long the daemon finishes what it began after SIGTERM."
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
    if config is None:
        of_sample, _ = configfile.parse(sample(), CONFIG_NAME)
        values, lines = {"steps": of_sample["steps"]}, Lines(None, CONFIG_NAME)
    else:
        values, lines = configfile.read(config)
        # A section whose entries are all commented out is as good as absent.
        values = {key: value for key, value in values.items() if value is not None or key not in _SECTIONS}
        _anchor(values, Path(os.path.abspath(config)).parent)
    environment, given = _environment(), _nest(overrides or {})
    try:
        settings = Settings(**_merge(_merge(values, environment), given))
    except pydantic.ValidationError as error:
        raise ConfigError(_explain(error, lines, environment, given)) from error
    settings = _absolute(settings, folder)
    for step in (*settings.steps.values(), *settings.filters.values()):
        step._folder = folder if config is None else Path(os.path.abspath(config)).parent
    if "api" in settings.steps:
        raise ConfigError(
            _blame(("steps", "api"), lines, environment, given)
            + "the name is that of requests over HTTP; choose another one"
        )
    for index, complaint in _overlaps([root.path for root in settings.roots]):
        raise ConfigError(_blame(("roots", index, "path"), lines, environment, given) + complaint)
    return settings


def sample() -> str:
    """Return the commented config.yaml that ``enrich init`` writes."""
    return Path(__file__).with_name(CONFIG_NAME).read_text(encoding="utf-8")


def _anchor(values: dict[str, Any], folder: Path) -> None:
    """Make the file's relative paths absolute; wrong types are left to validation."""
    if isinstance(values.get("catalog"), str):
        values["catalog"] = _anchor_url(values["catalog"], folder)
    if isinstance(values.get("models_dir"), str):
        values["models_dir"] = _anchor_path(values["models_dir"], folder)
    if isinstance(values.get("plugin_dirs"), list):
        values["plugin_dirs"] = [
            _anchor_path(item, folder) if isinstance(item, str) else item for item in values["plugin_dirs"]
        ]
    api = values.get("api")
    if isinstance(api, dict) and isinstance(api.get("uploads_dir"), str):
        api["uploads_dir"] = _anchor_path(api["uploads_dir"], folder)
    metrics = values.get("metrics")
    if isinstance(metrics, dict) and isinstance(metrics.get("file"), str):
        metrics["file"] = _anchor_path(metrics["file"], folder)
    providers = values.get("providers")
    tensorrt = providers.get("tensorrt") if isinstance(providers, dict) else None
    if isinstance(tensorrt, dict) and isinstance(tensorrt.get("cache_dir"), str):
        tensorrt["cache_dir"] = _anchor_path(tensorrt["cache_dir"], folder)
    for root in values["roots"] if isinstance(values.get("roots"), list) else ():
        if isinstance(root, dict) and isinstance(root.get("path"), str):
            root["path"] = _anchor_path(root["path"], folder)


def _anchor_path(path: str | Path, folder: Path) -> Path:
    # Not resolve(): a root that is a symbolic link keeps the name its owner knows.
    return Path(os.path.abspath(folder / Path(path).expanduser()))


def _anchor_url(url: str, folder: Path) -> str:
    prefix, _, name = url.partition(":///")
    if not prefix.startswith("sqlite") or not name or name.startswith((":", "file:")):
        return url
    return f"{prefix}:///{_anchor_path(name, folder)}"


def _absolute(settings: Settings, folder: Path) -> Settings:
    file = settings.metrics.file and _anchor_path(settings.metrics.file, folder)
    tensorrt = settings.providers.tensorrt
    cache_dir = tensorrt.cache_dir and _anchor_path(tensorrt.cache_dir, folder)
    tensorrt = tensorrt.model_copy(update={"cache_dir": cache_dir})
    return settings.model_copy(
        update={
            "catalog": _anchor_url(settings.catalog, folder),
            "models_dir": _anchor_path(settings.models_dir, folder),
            "metrics": settings.metrics.model_copy(update={"file": file}),
            "providers": settings.providers.model_copy(update={"tensorrt": tensorrt}),
            "api": settings.api.model_copy(
                update={"uploads_dir": _anchor_path(settings.api.uploads_dir, folder)}
            ),
            "plugin_dirs": tuple(_anchor_path(item, folder) for item in settings.plugin_dirs),
            "roots": tuple(
                root.model_copy(update={"path": _anchor_path(root.path, folder)}) for root in settings.roots
            ),
        }
    )


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
        variable = _PREFIX + str(error).split('"')[1].upper()  # it names the field, quoted
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


def _explain(
    error: pydantic.ValidationError,
    lines: Lines,
    environment: Mapping[str, Any],
    given: Mapping[str, Any],
) -> str:
    first = error.errors(include_url=False)[0]
    message = {
        "extra_forbidden": "unknown key; the keys are in `enrich init`'s config.yaml",
        "missing": "this key is required",
    }.get(first["type"], first["msg"])
    location = [part for part in first["loc"] if part != "[key]"]
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{_blame(location, lines, environment, given)}{message}{more}"


def _blame(
    location: Sequence[Any], lines: Lines, environment: Mapping[str, Any], given: Mapping[str, Any]
) -> str:
    """Return who said the value of a location, and its key: whoever says most of the way to it."""
    key = ".".join(str(part) for part in location)
    depth, where = lines.find(location)
    if _depth(environment, location) >= max(depth, 1):
        depth, where, key = _depth(environment, location), "environment: ", _variable(location)
    if _depth(given, location) >= max(depth, 1):
        where, key = "command line: ", ".".join(str(part) for part in location)
    return f"{where}{key}: "


def _depth(values: Any, location: Sequence[Any]) -> int:
    """Return how many parts of a location lead somewhere in ``values``."""
    for depth, part in enumerate(location):
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return depth
    return len(location)


def _variable(location: Sequence[Any]) -> str:
    """Return the variable that set a location, or the section it is in."""
    present = {name.upper() for name in os.environ}
    names = [
        _PREFIX + "__".join(str(part) for part in location[:end]).upper()
        for end in range(len(location), 0, -1)
    ]
    # A section may be put together from variables beside the one that is missing.
    return next((name for name in names if name in present), names[0])
