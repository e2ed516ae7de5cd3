"""The options that every command has, before or after its name."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from enrich.cli.logs import FORMATS, set_up_logging
from enrich.errors import ConfigError

if TYPE_CHECKING:
    from enrich.settings import Settings

__all__ = ["Setup", "parse_value", "set_up_logging", "setup_options"]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Setup:
    """What the common options said."""

    config: Path | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    bundled_only: bool = False
    verbosity: int = 0
    log_format: str | None = None

    def settings(self) -> Settings:
        """Set up logging and read the settings."""
        from enrich import settings

        set_up_logging(self.verbosity, self._log_format())
        config = self.config
        if config is None and os.environ.get("ENRICH_CONFIG"):
            config = Path(os.environ["ENRICH_CONFIG"])
        return settings.load(config, overrides=self.overrides)

    def _log_format(self) -> str:
        if self.log_format is not None:
            return self.log_format
        named = os.environ.get("ENRICH_LOG_FORMAT") or FORMATS[0]
        if named not in FORMATS:
            raise ConfigError(f"environment: ENRICH_LOG_FORMAT: {named!r} is not one of {', '.join(FORMATS)}")
        return named


def setup_options(function: F) -> F:
    """Add the common options to a command; their values go into the context's Setup."""
    options = [
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            expose_value=False,
            callback=_keep_config,
            metavar="FILE",
            help="The configuration; config.yaml of this folder unless given.",
        ),
        click.option(
            "--set",
            multiple=True,
            expose_value=False,
            callback=_keep_overrides,
            metavar="KEY=VALUE",
            help="A value of the configuration, such as device=cpu or steps.ocr.size_px=1024.",
        ),
        click.option(
            "--no-plugins",
            is_flag=True,
            expose_value=False,
            callback=_keep_safe_mode,
            help="Load the bundled plugins only.",
        ),
        click.option(
            "-v",
            "--verbose",
            count=True,
            expose_value=False,
            callback=_keep_verbosity,
            help="Log more; twice for everything.",
        ),
        click.option(
            "--log-format",
            type=click.Choice(FORMATS),
            expose_value=False,
            callback=_keep_log_format,
            help="How logs are written: lines for people (text), or one JSON object a line.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def _keep_config(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.ensure_object(Setup).config = value
    ctx.ensure_object(Setup)


def _keep_overrides(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> None:
    for item in value:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{item!r} is not KEY=VALUE", ctx, param)
        ctx.ensure_object(Setup).overrides[key] = parse_value(text)


def _keep_safe_mode(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    ctx.ensure_object(Setup).bundled_only |= value


def _keep_verbosity(ctx: click.Context, param: click.Parameter, value: int) -> None:
    ctx.ensure_object(Setup).verbosity += value


def _keep_log_format(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Setup).log_format = value


def parse_value(text: str) -> Any:
    """Return a value as config.yaml would read it."""
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise click.BadParameter(f"{text!r} is not a value: {error}") from error
