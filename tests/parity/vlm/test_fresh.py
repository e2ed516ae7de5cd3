"""What was recorded of the vision-language models is what transformers says today.

Runs in an export environment of its own (`make parity`), which has torch and transformers 5; the default
suite compares our numbers with those that were recorded.
"""

from pathlib import Path

import numpy as np
import pytest

WHERE = "parity runs in the export environments: make parity"
pytest.importorskip("torch", reason=WHERE)
pytest.importorskip("transformers", minversion="5", reason=WHERE)

# After the skips.
from parity.vlm.record import ARCHITECTURES, FOLDER, record  # noqa: E402

#: Other machines add up in another order.
APART_MAX = 1e-4


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_reference_says_what_was_recorded(tmp_path: Path, name: str) -> None:
    record(tmp_path / "fresh", tmp_path / "made", [name])
    with np.load(tmp_path / "fresh" / f"{name}.npz") as fresh, np.load(FOLDER / f"{name}.npz") as recorded:
        assert set(fresh) == set(recorded)
        for key in recorded:
            assert fresh[key].shape == recorded[key].shape, key
            if np.issubdtype(recorded[key].dtype, np.floating):
                span = float(np.abs(recorded[key]).max(initial=1))
                assert np.abs(fresh[key] - recorded[key]).max(initial=0) <= APART_MAX * span, key
            else:
                assert (fresh[key] == recorded[key]).all(), key
