"""The soak's short form; `make soak` runs it long."""

import pytest
from soak import soak
from workplace import Workplace


@pytest.mark.parametrize("seed", [20261121])
def test_chance_and_kills_leave_what_the_model_knows(place: Workplace, database: str, seed: int) -> None:
    seconds = {"sqlite": 12, "postgresql": 8}[database]
    figures = soak(place, seconds=seconds, seed=seed, kill_seconds=2.5, pace=0.03)
    assert figures["kills"] >= 1
    assert figures["operations"] > 50
    print(figures)
