"""Image classifiers: by optimum where it knows the architecture, else by torch alone."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from enrich.exporters.optimum import export_with_optimum, is_known
from enrich.exporters.samples import OTHERS, pixels
from enrich.exporters.tracing import Refused, compare, module_of
from enrich.exporters.vision import export_vision

__all__ = ["export"]

_TASK = "image-classification"


def export(model: nn.Module, folder: Path) -> dict[str, float]:
    """Write model.onnx (pixel_values -> logits); return how far it lies from torch.

    Raises
    ------
    Refused
        Its configuration does not say how large its pictures are, or the graph is not what torch's model
        is. Not retryable.
    """
    config = getattr(model.config, "vision_config", model.config)
    if not hasattr(config, "image_size"):
        raise Refused(f"config.json of this {model.config.model_type} does not say image_size")

    def see(pixels: Tensor) -> Tensor:
        return model(pixel_values=pixels).logits

    graph = folder / "model.onnx"
    if not is_known(model.config.model_type, _TASK):
        return {"model": export_vision(model, see, config, graph, "logits")}
    export_with_optimum(Path(model.config._name_or_path), folder, _TASK)
    others = [{"pixel_values": pixels(size.batch, config)} for size in OTHERS]
    return {"model": compare(module_of(model, see), graph, ["logits"], others)}
