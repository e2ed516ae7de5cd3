"""The name of a model as an option of a step, for steps that use more than one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pydantic
    import pydantic_core

__all__ = ["ModelName"]


class ModelName(str):
    """Which model an option of a step means.

    The host opens it before the step starts, and hands it out as ``context.models[name]``. What the model
    says is part of what the step says, so its revision is recorded beside its name: another one makes the
    step's annotations stale.
    """

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: pydantic.GetCoreSchemaHandler
    ) -> pydantic_core.CoreSchema:
        """Let pydantic make names of strings."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(
            cls,
            core_schema.str_schema(min_length=1),
            serialization=core_schema.plain_serializer_function_ser_schema(_recorded, info_arg=True),
        )


def _recorded(name: str, info: pydantic.SerializationInfo) -> str | dict[str, str]:
    """Return the name; with the model's revision, where the ``models`` of the context tell it."""
    model = (info.context or {}).get("models", {}).get(name)
    return str(name) if model is None else {"model": model.name, "revision": model.revision}
