"""Which eyes an architecture has; each is imported when it is needed."""

from __future__ import annotations

from enrich.errors import ManifestError
from enrich.inference.sight import Sight
from enrich.inference.stored import StoredModel

__all__ = ["sight_of"]


def sight_of(model: StoredModel) -> type[Sight]:
    """Return the class of a model's eyes.

    Raises
    ------
    ManifestError
        config.json's ``model_type`` is none that is known. Not retryable.
    """
    kind = model.config.get("model_type")
    if kind in ("idefics3", "smolvlm"):
        from enrich.inference.idefics3 import Idefics3Sight

        return Idefics3Sight
    if kind == "llava":
        from enrich.inference.llava import LlavaSight

        return LlavaSight
    if kind == "llava_next":
        from enrich.inference.llava_next import LlavaNextSight

        return LlavaNextSight
    if kind in ("qwen2_vl", "qwen2_5_vl"):
        from enrich.inference.qwen_vl import QwenSight

        return QwenSight
    raise ManifestError(
        f"{model.folder / 'config.json'}: model_type: {kind!r} is none of idefics3, llava, llava_next, "
        "qwen2_vl, qwen2_5_vl, smolvlm"
    )
