"""The plugin host: finds and loads plugins, binds steps to them, and calls them one at a time."""

from enrich.host.binding import BoundStep, Generator
from enrich.host.filters import Filters
from enrich.host.host import Host, Outcome
from enrich.host.plugin import Failure, Plugin

__all__ = ["BoundStep", "Failure", "Filters", "Generator", "Host", "Outcome", "Plugin"]
