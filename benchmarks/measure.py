"""Timing two ways of doing the same, in turn, and saying how they compare.

The machine's speed drifts, so the ways take turns within one run, and their ratio is taken pair by pair.
"""

import json
import statistics
import time
from collections.abc import Callable

__all__ = ["compare", "report", "timed"]


def compare(ours: Callable[[], object], peer: Callable[[], object], runs: int) -> list[tuple[float, float]]:
    """Return (our seconds, the peer's seconds) of each pair, after one pair to warm up."""
    pairs = []
    for _ in range(runs + 1):
        pairs.append((timed(ours), timed(peer)))
    return pairs[1:]


def report(
    name: str, what: str, peer: str, items: int, pairs: list[tuple[float, float]], wanted: str
) -> None:
    """Print one table and one JSON line; the ratio is our speed over the peer's."""
    ours = statistics.median(pair[0] for pair in pairs)
    theirs = statistics.median(pair[1] for pair in pairs)
    ratios = sorted(pair[1] / pair[0] for pair in pairs)
    print(f"{name}: {what}, {items} items, {len(pairs)} pairs, medians")
    print(f"  enrich  {ours:8.3f} s  {items / ours:10.1f} /s")
    print(f"  {peer:<7} {theirs:8.3f} s  {items / theirs:10.1f} /s")
    middle = statistics.median(ratios)
    print(f"  speed against {peer}: {middle:.2f} ({ratios[0]:.2f} .. {ratios[-1]:.2f}); wanted {wanted}")
    print(
        json.dumps(
            {
                "benchmark": name,
                "peer": peer,
                "items": items,
                "seconds": round(ours, 4),
                "peer_seconds": round(theirs, 4),
                "ratio": round(statistics.median(ratios), 3),
                "ratio_low": round(ratios[0], 3),
                "ratio_high": round(ratios[-1], 3),
            }
        )
    )


def timed(function: Callable[[], object]) -> float:
    """Return how many seconds a call takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started
