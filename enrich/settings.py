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
import yaml

from enrich.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_settings import PydanticBaseSettingsSource

__all__ = ["CONFIG_NAME", "Root", "Settings", "Step", "load", "sample"]

CONFIG_NAME = "config.yaml"

_PREFIX = "ENRICH_"

_STEP_NAME = r"^[A-Za-z][A-Za-z0-9_-]{0,62}$"


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class Root(_Section):
    """A folder under watch."""

    path: Path = pydantic.Field(description="The folder.")
    mode: Literal["auto", "events", "poll"] = pydantic.Field("auto", description="How changes are noticed.")
    settle_seconds: float = pydantic.Field(
        2.0, ge=0, description="A file is complete once it was unchanged for so long."
    )
    rescan_seconds: float = pydantic.Field(
        300, gt=0, description="How often the whole root is looked through."
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
        None, gt=0, description="How long one batch may take; the plugin is told by context.deadline."
    )
    pages: Literal["first", "all"] = pydantic.Field(
        "first", description="Which pages of a file are looked at."
    )
    size_px: int | None = pydantic.Field(
        None, ge=16, le=16384, description="The longest edge of the renditions; the plugin's wish if not set."
    )

    @property
    def options(self) -> dict[str, Any]:
        """The plugin's own options, as written."""
        return dict(self.model_extra or {})


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
        60, ge=1, description="How long a worker that stops answering keeps its jobs."
    )
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
        values, lines = {"steps": _parse(sample(), CONFIG_NAME)[0]["steps"]}, _Lines(None, CONFIG_NAME)
    else:
        values, lines = _read(config)
        _anchor(values, Path(os.path.abspath(config)).parent)
    environment, given = _environment(), _nest(overrides or {})
    try:
        settings = Settings(**_merge(_merge(values, environment), given))
    except pydantic.ValidationError as error:
        raise ConfigError(_explain(error, lines, environment, given)) from error
    return _absolute(settings, folder)


def sample() -> str:
    """Return the commented config.yaml that ``enrich init`` writes."""
    return Path(__file__).with_name(CONFIG_NAME).read_text(encoding="utf-8")


class _Lines:
    """Where each key of a YAML file stands."""

    def __init__(self, node: yaml.Node | None, name: str) -> None:
        self._name = name
        self._lines: dict[tuple[str, ...], int] = {}
        for place, line in () if node is None else _marks(node, ()):
            if place in self._lines:
                raise ConfigError(
                    f"{name}, line {line}: {'.'.join(place)}: the same key is in line {self._lines[place]}"
                )
            self._lines[place] = line

    def find(self, location: Sequence[Any]) -> tuple[int, str]:
        """Return how much of a location the file has, and in what line, in words."""
        place = tuple(str(part) for part in location)
        for depth in range(len(place), 0, -1):
            line = self._lines.get(place[:depth])
            if line is not None:
                return depth, f"{self._name}, line {line}: "
        return 0, ""


def _marks(node: yaml.Node, location: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            place = (*location, str(key.value))
            yield place, key.start_mark.line + 1
            yield from _marks(value, place)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            place = (*location, str(index))
            yield place, value.start_mark.line + 1
            yield from _marks(value, place)


def _read(config: Path) -> tuple[dict[str, Any], _Lines]:
    try:
        text = config.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{config}: no such file; `enrich init` writes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{config}: cannot be read: {error}") from error
    return _parse(text, str(config))


def _parse(text: str, name: str) -> tuple[dict[str, Any], _Lines]:
    try:
        values = yaml.safe_load(text)
        lines = _Lines(yaml.compose(text, Loader=yaml.SafeLoader), name)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{name}, line {line}: not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:  # an alias inside its own anchor
        raise ConfigError(f"{name}: nested without end; remove the aliases (*name)") from error
    if values is None:  # an empty file, or only comments
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"{name}, line 1: the file must hold keys and values, like `catalog: sqlite:///catalog.db`"
        )
    for section in ("plugin_dirs", "roots", "steps"):  # a section whose entries are all commented out
        if section in values and values[section] is None:
            del values[section]
    return {str(key): value for key, value in values.items()}, lines


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
    return settings.model_copy(
        update={
            "catalog": _anchor_url(settings.catalog, folder),
            "models_dir": _anchor_path(settings.models_dir, folder),
            "plugin_dirs": tuple(_anchor_path(item, folder) for item in settings.plugin_dirs),
            "roots": tuple(
                root.model_copy(update={"path": _anchor_path(root.path, folder)}) for root in settings.roots
            ),
        }
    )


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
    lines: _Lines,
    environment: Mapping[str, Any],
    given: Mapping[str, Any],
) -> str:
    first = error.errors(include_url=False)[0]
    location = [part for part in first["loc"] if part != "[key]"]
    key = ".".join(str(part) for part in location)
    message = {
        "extra_forbidden": "unknown key; the keys are in `enrich init`'s config.yaml",
        "missing": "this key is required",
    }.get(first["type"], first["msg"])
    # Whoever says most of the way to the wrong value said the value.
    depth, where = lines.find(location)
    if _depth(environment, location) >= max(depth, 1):
        depth, where, key = _depth(environment, location), "environment: ", _variable(location)
    if _depth(given, location) >= max(depth, 1):
        where, key = "command line: ", ".".join(str(part) for part in location)
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}{key}: {message}{more}"


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
