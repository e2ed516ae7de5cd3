"""How the cosines of a dual encoder become confidences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from enrich.errors import ManifestError

__all__ = ["CLIP_SCALE", "Rule", "solve"]

#: Source: Radford et al., Learning Transferable Visual Models From Natural Language Supervision (2021),
#: section 2.5: the learned scale is clipped at 100, which it reaches in the published models.
CLIP_SCALE = 100.0

# Of how far the logits reach: float16 loses half a percent and int8 one; another rule is off by far more.
_RESIDUAL_SHARE_MAX = 0.02
# Cosines of float32 are good to about 1e-7: a spread below this gives no three digits of the scale.
_SPREAD_MIN = 1e-4


@dataclass(frozen=True, slots=True)
class Rule:
    """Confidences are ``activation(scale * cosine + bias)``.

    Parameters
    ----------
    scale, bias : float
        As the model was trained.
    activation : {"softmax", "sigmoid"}
        Softmax over the labels (CLIP), or each by itself (SigLIP).
    """

    scale: float
    bias: float
    activation: Literal["softmax", "sigmoid"]

    def logits(self, cosines: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the logits of cosines of any shape."""
        return self.scale * cosines.astype(np.float64) + self.bias


def solve(
    cosines: Sequence[float], logits: Sequence[float], *, with_bias: bool, where: object
) -> tuple[float, float]:
    """Find the scale and bias that make a graph's logits of its cosines.

    Parameters
    ----------
    cosines, logits : sequence of float
        Aligned: pairs of a picture and a text.
    with_bias : bool
        Whether there is a bias, or it is 0.
    where : object
        The model's folder, for the message.

    Raises
    ------
    ManifestError
        The logits are no scaled cosines, or the cosines are too much alike. Not retryable.
    """
    x, y = np.asarray(cosines, np.float64), np.asarray(logits, np.float64)
    columns = np.stack([x, np.ones_like(x)], axis=1) if with_bias else x[:, None]
    found, *_ = np.linalg.lstsq(columns, y, rcond=None)
    scale, bias = (float(found[0]), float(found[1]) if with_bias else 0.0)
    # Without a bias zero is a pair, too.
    spread, reach = (float(np.ptp(values if with_bias else np.append(values, 0.0))) for values in (x, y))
    residual = float(np.abs(columns @ found - y).max())
    if spread < _SPREAD_MIN or residual > _RESIDUAL_SHARE_MAX * reach or scale <= 0:
        raise ManifestError(
            f"{where}: zero_shot: the graph's logits_per_image do not tell its scale (off by {residual:.2g} "
            f"over cosines {spread:.2g} apart); give zero_shot.scale and zero_shot.bias in manifest.json"
        )
    return scale, bias
