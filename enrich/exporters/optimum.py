"""optimum's exporter, for the architectures that it knows."""

from __future__ import annotations

from pathlib import Path

from optimum.exporters.onnx import main_export
from optimum.exporters.tasks import TasksManager

from enrich.exporters.tracing import quiet

__all__ = ["export_with_optimum", "is_known"]


def is_known(model_type: str, task: str) -> bool:
    """Tell whether optimum exports models of this type for this task."""
    try:
        return task in TasksManager.get_supported_tasks_for_model_type(
            model_type, "onnx", library_name="transformers"
        )
    except KeyError:
        return False


def export_with_optimum(source: Path, folder: Path, task: str) -> None:
    """Export a saved transformers folder; the configuration and processor files go along.

    Parameters
    ----------
    source, folder : Path
        What ``save_pretrained`` wrote, and where the graphs go.
    task : str
        optimum's name: ``image-classification``, ``zero-shot-image-classification`` (CLIP and SigLIP),
        ``image-to-text-with-past`` (vision encoder-decoders).
    """
    with quiet():
        main_export(str(source), output=folder, task=task, do_validation=False)
