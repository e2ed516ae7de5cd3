"""What a user wants to have: a model of the list, or a repository of the hub."""

from __future__ import annotations

import re
from dataclasses import dataclass

from enrich.errors import ModelMissing
from enrich.hub import listed as model_list
from enrich.hub.entry import Listed
from enrich.hub.repository import check_repository
from enrich.inference.store import check_name

__all__ = ["Target", "parse_target"]

_HUB = "hf:"
_BARE = re.compile(r"[^/:@]+/[^/:@]+(@.+)?")


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be pulled.

    Parameters
    ----------
    name : str
        Its folder in the store.
    repository : str
        ``owner/name``.
    revision : str
        A commit, a branch or a tag.
    listed : Listed or None
        What the model list says of it.
    is_published : bool
        Whether its graphs are known to be there, or may be: not for a name of the list that is exported.
    """

    name: str
    repository: str
    revision: str
    listed: Listed | None
    is_published: bool = True

    @property
    def source(self) -> str:
        """Where it comes from, as its manifest says it."""
        if self.listed is not None and self.listed.files:
            return f"https://github.com/{self.listed.repository}"
        return f"{_HUB}{self.repository}"


def parse_target(text: str, name: str | None = None) -> Target:
    """Read what a user wants: a name of the list, an alias, or ``[hf:]owner/name[@revision]``.

    Parameters
    ----------
    text : str
        What was said.
    name : str or None
        What the model shall be called in the store instead.

    Raises
    ------
    UsageError
        ``name`` is none, or no repository may be called so. Not retryable.
    ModelMissing
        It is neither on the list nor of the hub. Not retryable.
    """
    if _BARE.fullmatch(text) and model_list.find(text) is None:
        text = f"{_HUB}{text}"
    place, _, revision = text.partition("@") if text.startswith(_HUB) else (text, "", "")
    listed = model_list.find(place)
    if listed is None and not place.startswith(_HUB):
        names = ", ".join(model_list.LISTED)
        raise ModelMissing(f'"{text}" is not on the list; it has {names}; others: hf:owner/name[@revision]')
    repository = place.removeprefix(_HUB) if place.startswith(_HUB) else ""
    is_published = bool(repository) or listed is None or listed.is_published
    if listed is None:
        check_repository(repository)
    else:
        # A repository that was named is the one that is meant, also where the list knows another one.
        repository = repository if "/" in repository else listed.onnx or listed.repository
        revision = revision or listed.revision
    chosen = (listed.name if listed else repository.partition("/")[2]) if name is None else name
    check_name(chosen)
    return Target(chosen, repository, revision or "main", listed, is_published)
