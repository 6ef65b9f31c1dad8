"""Carries a call out again while the relay is away or busy, and no longer than that may help.

Repeating is safe: a call that would take effect twice carries an idempotency key. Owns no state;
blocks the thread that calls.
"""

import random
from collections.abc import Callable
from time import sleep
from typing import Any, Final

from relay_agentd.backoff import Backoff
from relay_agentd.client_errors import RelayRefused, RelayUnreachable, named
from relay_agentd.clock import monotonic
from relay_agentd.relay_calls import Call
from relay_agentd.relay_client import RelayClient

PAUSES: Final = (0.25, 15.0)


def insist(
    http: RelayClient, call: Call, *, patience: float, mended: Callable[[RelayRefused], bool]
) -> Any:
    """The call's JSON, at most `patience` seconds after the first try. `mended`: has the reason of
    a refusal been done away with, so that the call is worth another try at once?

    Raises: RelayUnreachable, RelayRefused (as the class that names it).
    """
    backoff = Backoff(*PAUSES)
    deadline = monotonic() + patience
    may_mend = True
    while True:
        pause = backoff.next_delay(random.random())  # noqa: S311 - jitter
        try:
            return http.request(call)
        except RelayUnreachable:
            if monotonic() + pause > deadline:
                raise
        except RelayRefused as refusal:
            if may_mend and mended(refusal):
                may_mend = False
                continue
            pause = refusal.retry_after or pause
            if not refusal.may_pass or monotonic() + pause > deadline:
                raise named(refusal) from refusal
        sleep(pause)
