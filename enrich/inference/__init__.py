"""Models: the store they lie in, the sessions they run in, and the schedulers that batch for them.

ONNX Runtime is imported when the first session is opened, not before: looking through the store
works without it.
"""

from enrich.inference.classifier import OUTSIDE_DOMAIN, Classifier, LabelScores
from enrich.inference.manifest import Manifest
from enrich.inference.models import Models
from enrich.inference.runtime import RuntimeReport, describe_runtime
from enrich.inference.scheduler import Stats
from enrich.inference.store import Listing, ModelStore
from enrich.inference.stored import StoredModel

__all__ = [
    "OUTSIDE_DOMAIN",
    "Classifier",
    "LabelScores",
    "Listing",
    "Manifest",
    "ModelStore",
    "Models",
    "RuntimeReport",
    "Stats",
    "StoredModel",
    "describe_runtime",
]
