"""How long to wait before another try. Pure: the random share is passed in."""

from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Doubling delays with jitter: `first`, then up to `cap`; `reset` after a success."""

    first: float
    cap: float
    _failures: int = 0

    def next_delay(self, share: float) -> float:
        """The next delay; `share` in 0..1 spreads it over the upper half of its range."""
        # The exponent is bounded: 2 ** 1100 no longer fits a float.
        longest = min(self.cap, self.first * float(2 ** min(self._failures, 32)))
        self._failures += 1
        return longest * (0.5 + share / 2)

    def reset(self) -> None:
        """Something worked: start over with the shortest delay."""
        self._failures = 0
