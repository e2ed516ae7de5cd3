"""Dual encoders: pictures and texts in one space (CLIP, SigLIP), for embeddings and for any labels."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from enrich.errors import ManifestError, UsageError
from enrich.inference.devices import Device
from enrich.inference.halves import Halves, Whole, open_halves
from enrich.inference.handle import Model
from enrich.inference.reader import Reader, TextInput, unit
from enrich.inference.scheduler import Scheduler, Stats
from enrich.inference.scores import LabelScores, score
from enrich.inference.session import open_session
from enrich.inference.stored import StoredModel
from enrich.inference.token_ids import text_input
from enrich.inference.zero_shot import CLIP_SCALE, Rule, solve
from enrich.types import Rendition

__all__ = ["DualEncoder"]

_CPU = Device("cpu")

# Pairs of these show a graph's scale; any different ones would do.
_TRIAL_TEXTS = ("a", "a red circle", "two dogs on a beach", "7")
_TRIAL_PICTURES = 2


class DualEncoder(Model):
    """A dual encoder that is ready to be asked, from any thread.

    A rendition or text gets the same vector alone and in any batch, but for the last bits of float32
    (differences stay below 1e-5).

    Parameters
    ----------
    model : StoredModel
        What the graphs take and give.
    halves : Halves
        Its encoders.
    text : TextInput
        How it reads.
    device : Device
        Where the graph runs that tells the scale, if another than ``halves`` is needed for it.

    Raises
    ------
    ManifestError
        The halves do not fit each other.
    InferenceError
        A graph refused a blank picture or an empty text.

    None of them is retryable.
    """

    def __init__(self, model: StoredModel, halves: Halves, text: TextInput, device: Device = _CPU) -> None:
        super().__init__(model)
        self._halves = halves
        self._text = text
        self._device = device
        self._rule: Rule | None = None
        self._lock = threading.Lock()
        self._reader = Reader(text, halves.read, halves.text_buckets, name=model.name)
        seen = halves.see(np.zeros((1, *model.preprocessing.shape), np.float32))
        read = halves.read(*text.batch([text.encode("")]))
        if seen.shape[1:] != read.shape[1:]:
            raise ManifestError(
                f"{model.folder}: pictures have {seen.shape[1]} dimensions and texts {read.shape[1]}: "
                "they are not of one model"
            )
        self._scheduler = Scheduler(halves.see, halves.picture_buckets, name=model.name)

    @classmethod
    def open(cls, model: StoredModel, device: Device = _CPU, *, threads: int | None = None) -> DualEncoder:
        """Load the graphs and the tokenizer, try both halves, and start the scheduler.

        Raises
        ------
        ExtraMissing, ManifestError, ProviderError, InferenceError
            See ``Session`` and this class. Not retryable.
        """
        halves = open_halves(model, device, threads=threads, is_pooled=_is_siglip(model))
        text = text_input(model, halves.words, is_siglip=_is_siglip(model))
        return cls(model, halves, text, device)

    @property
    def provider(self) -> str:
        """The execution provider in use, as ONNX Runtime names it."""
        return self._halves.provider

    @property
    def stats(self) -> Stats:
        """What the scheduler of the pictures did."""
        return self._scheduler.stats

    @property
    def template(self) -> str:
        """How the manifest wants a label put, with ``{}`` for it; ``{}`` alone where it says nothing."""
        return self.manifest.zero_shot.template or "{}"

    def embed(self, items: Sequence[Rendition] | Sequence[str]) -> list[NDArray[np.float32]]:
        """Place renditions, or texts, in the model's space.

        Texts are read as they are, without a template; what is longer than the model reads is cut.

        Returns
        -------
        list of ndarray
            float32, (D,), unit length, read-only, aligned with ``items``.

        Raises
        ------
        UsageError
            Renditions and texts are mixed.
        InferenceError
            The runtime refused an item, or its embedding is not finite.

        None of them is retryable.
        """
        renditions = [item for item in items if isinstance(item, Rendition)]
        texts = [item for item in items if isinstance(item, str)]
        # A str is a sequence of str, too.
        if isinstance(items, str) or (renditions and texts) or len(renditions) + len(texts) != len(items):
            raise UsageError(f"the model {self.name}: embed takes a list of renditions, or a list of texts")
        if texts:
            return list(self._reader.vectors(texts))
        return self._see(renditions)

    def predict(self, renditions: Sequence[Rendition], labels: Sequence[str] = ()) -> list[LabelScores]:
        """Score each rendition against ``labels``.

        Labels are read as they are: put them into words first (``template``). Their vectors are remembered,
        so that asking again with the same list costs no more than the pictures.

        Parameters
        ----------
        renditions : sequence of Rendition
            The pictures.
        labels : sequence of str
            At least one. With softmax (CLIP) they share a whole of 1; with sigmoid (SigLIP) each stands
            alone.

        Raises
        ------
        UsageError
            There are no labels.
        ManifestError
            How this model scores cannot be known from its files.
        InferenceError
            The runtime refused a picture or a label.

        None of them is retryable.
        """
        if isinstance(labels, str) or not len(labels):
            raise UsageError(f"the model {self.name} has no labels of its own: give a list, a vocabulary")
        rule = self._known_rule()
        names = tuple(labels)
        matrix = self._reader.vectors(names)
        # One by one: a product of matrices may round otherwise for other neighbours.
        return [
            score(self.name, names, rule.logits(matrix @ vector), rule.activation)
            for vector in self._see(renditions)
        ]

    def close(self) -> None:
        """Finish what waits; later calls are refused."""
        self._scheduler.close()

    def _see(self, renditions: Sequence[Rendition]) -> list[NDArray[np.float32]]:
        # Kept with the rendition: tags and embeddings of one model see it once.
        key = ("embedding", self.name, self.revision)
        new = list({id(one): one for one in renditions if key not in one.tensors}.values())
        rows = self._scheduler.run([self._model.preprocessing.tensor(one) for one in new])
        for rendition, row in zip(new, rows, strict=True):
            (vector,) = unit(self.name, row[None])
            vector.setflags(write=False)
            rendition.tensors[key] = vector
        return [rendition.tensors[key] for rendition in renditions]

    def _known_rule(self) -> Rule:
        with self._lock:
            if self._rule is None:
                self._rule = self._find_rule()
            return self._rule

    def _find_rule(self) -> Rule:
        said, is_siglip = self.manifest.zero_shot, _is_siglip(self._model)
        activation = said.activation or ("sigmoid" if is_siglip else "softmax")
        if said.scale is not None and (said.bias is not None or activation == "softmax"):
            return Rule(said.scale, said.bias or 0.0, activation)
        whole = self._whole()
        if whole is not None:
            scale, bias = self._solve(whole, with_bias=is_siglip)
            return Rule(said.scale or scale, bias if said.bias is None else said.bias, activation)
        if is_siglip:
            raise ManifestError(
                f"{self._model.folder}: zero_shot: nothing tells the scale and bias of this SigLIP export; "
                "give both in manifest.json, exp(logit_scale) and logit_bias of the weights; or, for "
                'embeddings alone, "hooks": ["enrich_embed"]'
            )
        return Rule(CLIP_SCALE, 0.0, activation)

    def _whole(self) -> Whole | None:
        if isinstance(self._halves, Whole):
            return self._halves
        if "model" not in self._model.graphs:
            return None
        return Whole(self._model, open_session(self._model.graphs["model"], self._device))

    def _solve(self, whole: Whole, *, with_bias: bool) -> tuple[float, float]:
        noise = np.random.default_rng(0).normal(size=(_TRIAL_PICTURES, 1, *self._model.preprocessing.shape))
        texts = [self._text.batch([self._text.encode(text)]) for text in _TRIAL_TEXTS]
        pairs = [whole.judge(pixels.astype(np.float32), *text) for pixels in noise for text in texts]
        cosines, logits = zip(*pairs, strict=True)
        return solve(cosines, logits, with_bias=with_bias, where=self._model.folder)


def _is_siglip(model: StoredModel) -> bool:
    architectures: Any = model.config.get("architectures") or []
    return "SiglipModel" in architectures
