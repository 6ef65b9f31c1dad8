"""Time series and how they are printed."""

import math
import statistics
from collections.abc import Sequence


def percentile(samples: Sequence[float], share: float) -> float:
    """The value below which `share` (0..1) of the samples lie."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def summary(samples: Sequence[float]) -> str:
    """`p50 / p99` of samples in seconds, in milliseconds."""
    return (
        f"p50 {statistics.median(samples) * 1000:.2f} ms, "
        f"p99 {percentile(samples, 0.99) * 1000:.2f} ms (n={len(samples)})"
    )


def report(name: str, value: str, target: str, *, met: bool) -> None:
    """One line of the bench's output."""
    print(f"{'ok  ' if met else 'MISS'}  {name:<58} {value:<44} target {target}", flush=True)
