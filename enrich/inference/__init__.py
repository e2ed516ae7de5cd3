"""Models: the store they lie in, the sessions they run in, and the schedulers that batch for them.

ONNX Runtime is imported when the first session is opened, not before: looking through the store
works without it.
"""

from enrich.inference.classifier import Classifier
from enrich.inference.families import FAMILIES, try_out
from enrich.inference.handle import OUTSIDE_DOMAIN, Model
from enrich.inference.manifest import Manifest
from enrich.inference.models import Models
from enrich.inference.runtime import RuntimeReport, describe_runtime
from enrich.inference.scheduler import Stats
from enrich.inference.scores import LabelScores
from enrich.inference.store import Listing, ModelStore
from enrich.inference.stored import StoredModel

__all__ = [
    "FAMILIES",
    "OUTSIDE_DOMAIN",
    "Classifier",
    "LabelScores",
    "Listing",
    "Manifest",
    "Model",
    "ModelStore",
    "Models",
    "RuntimeReport",
    "Stats",
    "StoredModel",
    "describe_runtime",
    "try_out",
]
