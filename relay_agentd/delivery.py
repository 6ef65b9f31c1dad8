"""How mail gets into a session exactly once, in order: the rules, without any effect. Pure.

A *message* waits in the inbox as `MailState`; a *delivery* is a batch of messages cut into one
text. One delivery at a time is on its way into a session (urgent mail may overtake it), so that a
lost one never ends up behind a later one, and mail that comes meanwhile travels as one batch.

    OFFERED ──taken──▶ HANDED ──proved──▶ IN_CONTEXT          written before the effect,
       │ │ └──rang──▶ RUNG ──taken──▶ HANDED                  so a crash leaves OFFERED:
       │ └──broke──▶ UNSURE ──found──▶ HANDED                 evidence decides (UNSURE)
       └──refused──▶ WITHDRAWN ◀──missing, silent, lost──     its messages wait again
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from relay_server.wire import Priority

LARGEST_BATCH: Final = 32
LARGEST_TEXT: Final = 48 * 1024

# A hook is started within a second of the bell; later the bell was not heard.
_BELL_SECONDS: Final = 10.0
# Proof comes with the session's next step; asking is for what the adapter may have overlooked.
_PROOF_SECONDS: Final = 30.0
_FIRST_EVIDENCE_SECONDS: Final = 0.25
_LONGEST_EVIDENCE_SECONDS: Final = 10.0
# Nothing may hold up later mail for ever, even if the order suffers.
_BLOCKING_SECONDS: Final = 120.0


class MailState(StrEnum):
    """How far a message in the inbox has got."""

    RECEIVED = "received"
    OFFERED = "offered"
    HANDED = "handed"
    IN_CONTEXT = "in_context"
    READ = "read"


class DeliveryState(StrEnum):
    """How far a delivery has got."""

    OFFERED = "offered"
    RUNG = "rung"
    HANDED = "handed"
    UNSURE = "unsure"
    IN_CONTEXT = "in_context"
    WITHDRAWN = "withdrawn"


class DeliveryEvent(StrEnum):
    """What happens to a delivery."""

    TAKEN = "taken"
    """The provider, or the session's hook, has the text."""
    RANG = "rang"
    REFUSED = "refused"
    """Certainly not handed over."""
    BROKE = "broke"
    """It may or may not have been handed over."""
    FOUND = "found"
    MISSING = "missing"
    SILENT = "silent"
    """The bell was not answered."""
    PROVED = "proved"
    LOST = "lost"


_S, _E = DeliveryState, DeliveryEvent
TRANSITIONS: Final = {
    (_S.OFFERED, _E.TAKEN): _S.HANDED,
    (_S.OFFERED, _E.RANG): _S.RUNG,
    (_S.OFFERED, _E.REFUSED): _S.WITHDRAWN,
    (_S.OFFERED, _E.BROKE): _S.UNSURE,
    (_S.OFFERED, _E.PROVED): _S.IN_CONTEXT,
    (_S.OFFERED, _E.LOST): _S.WITHDRAWN,
    (_S.RUNG, _E.TAKEN): _S.HANDED,
    (_S.RUNG, _E.SILENT): _S.WITHDRAWN,
    (_S.RUNG, _E.BROKE): _S.WITHDRAWN,
    (_S.RUNG, _E.PROVED): _S.IN_CONTEXT,
    (_S.RUNG, _E.LOST): _S.WITHDRAWN,
    (_S.HANDED, _E.PROVED): _S.IN_CONTEXT,
    (_S.HANDED, _E.BROKE): _S.UNSURE,
    (_S.HANDED, _E.MISSING): _S.WITHDRAWN,
    (_S.HANDED, _E.LOST): _S.WITHDRAWN,
    (_S.UNSURE, _E.FOUND): _S.HANDED,
    (_S.UNSURE, _E.MISSING): _S.WITHDRAWN,
    (_S.UNSURE, _E.PROVED): _S.IN_CONTEXT,
    (_S.UNSURE, _E.LOST): _S.WITHDRAWN,
    # Given up too early: its messages are spared a second time where they still wait.
    (_S.WITHDRAWN, _E.PROVED): _S.IN_CONTEXT,
}
ENDED: Final = frozenset({_S.IN_CONTEXT, _S.WITHDRAWN})

_MAIL_STATES: Final = {
    _S.OFFERED: MailState.OFFERED,
    _S.RUNG: MailState.OFFERED,
    _S.UNSURE: MailState.OFFERED,
    _S.HANDED: MailState.HANDED,
    _S.IN_CONTEXT: MailState.IN_CONTEXT,
    _S.WITHDRAWN: MailState.RECEIVED,
}


def advance(state: DeliveryState, event: DeliveryEvent) -> DeliveryState | None:
    """The next state; None when the event comes too late to mean anything."""
    return TRANSITIONS.get((state, event))


def mail_state(state: DeliveryState) -> MailState:
    """What a delivery's state makes of its messages."""
    return _MAIL_STATES[state]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that waits for its turn."""

    message_id: int
    priority: Priority
    size: int


@dataclass(frozen=True, slots=True)
class OnTheWay:
    """A delivery that has not ended."""

    state: DeliveryState
    urgent: bool
    since: float


def next_batch(
    waiting: Sequence[Waiting], on_the_way: Sequence[OnTheWay], now: float
) -> tuple[int, ...]:
    """Which messages to offer now; none when it is not their turn. `waiting` and the answer are
    in the order of arrival."""
    blocking = [one for one in on_the_way if now - one.since < _BLOCKING_SECONDS]
    urgent = [mail for mail in waiting if mail.priority == Priority.URGENT]
    if urgent:
        return () if any(one.urgent for one in blocking) else _fitting(urgent)
    return () if blocking else _fitting(waiting)


def _fitting(waiting: Sequence[Waiting]) -> tuple[int, ...]:
    chosen: list[int] = []
    size = 0
    for mail in waiting[:LARGEST_BATCH]:
        size += mail.size
        if chosen and size > LARGEST_TEXT:
            break
        chosen.append(mail.message_id)
    return tuple(chosen)


def check_at(state: DeliveryState, since: float, checks: int) -> float | None:
    """When to look after a delivery again, which has been done `checks` times since it got into
    `state`; None when only an event can move it on."""
    if state is DeliveryState.RUNG:
        return since + _BELL_SECONDS
    if state is DeliveryState.HANDED:
        return since + _PROOF_SECONDS * (checks + 1)
    if state is DeliveryState.UNSURE:
        # Doubling until the cap: 0.25, 0.5, 1, ... each counted from `since`.
        growing = _FIRST_EVIDENCE_SECONDS * float(2 ** min(checks, 6) - 1)
        return since + growing + _LONGEST_EVIDENCE_SECONDS * max(0, checks - 6)
    return None
