"""Image classifiers: by optimum where it knows the architecture, else by torch alone."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from enrich.exporters.optimum import export_with_optimum, is_known
from enrich.exporters.samples import OTHERS, TRACED, pixels
from enrich.exporters.tracing import Refused, compare, module_of, trace

__all__ = ["export"]

_TASK = "image-classification"
_FREE = {"pixel_values": {0: "batch"}, "logits": {0: "batch"}}


def export(model: nn.Module, folder: Path) -> dict[str, float]:
    """Write model.onnx (pixel_values -> logits); return how far it lies from torch.

    Raises
    ------
    Refused
        Its configuration does not say how large its pictures are. Not retryable.
    """
    config = getattr(model.config, "vision_config", model.config)
    if not hasattr(config, "image_size"):
        raise Refused(f"config.json of this {model.config.model_type} does not say image_size")

    def see(pixels: Tensor) -> Tensor:
        return model(pixel_values=pixels).logits

    module, graph = module_of(model, see), folder / "model.onnx"
    others = [{"pixel_values": pixels(size.batch, config)} for size in OTHERS]
    if is_known(model.config.model_type, _TASK):
        export_with_optimum(Path(model.config._name_or_path), folder, _TASK)
        return {"model": compare(module, graph, ["logits"], others)}
    inputs = {"pixel_values": pixels(TRACED.batch, config)}
    return {"model": trace(module, graph, inputs, ["logits"], _FREE, others=others, by_script=True)}
