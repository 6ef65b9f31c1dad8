"""How far a message got with one receiver: the order of states and the one way to advance.

    stored → routed → handed → in_context → read → replied        failed: may still go forward

`held` and `expired` are never stored: they follow from the message.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

from relay_server.wire import ReceiptState as S

RANK: Final = {
    S.STORED: 0,
    S.FAILED: 1,
    S.ROUTED: 1,
    S.HANDED: 2,
    S.IN_CONTEXT: 3,
    S.READ: 4,
    S.REPLIED: 5,
}
REPORTABLE: Final = (S.ROUTED, S.HANDED, S.IN_CONTEXT, S.READ, S.REPLIED, S.FAILED)
TAKEN: Final = (S.HANDED, S.IN_CONTEXT, S.READ, S.REPLIED)
_TIME_FIELD: Final = {
    S.ROUTED: "routed_at",
    S.HANDED: "handed_at",
    S.IN_CONTEXT: "in_context_at",
    S.READ: "read_at",
    S.REPLIED: "replied_at",
}
# What a later state cannot be without, though nobody may have reported it. Not `in_context`: that
# one is a proof, and only a session's own evidence gives it.
_IMPLIED: Final = (S.ROUTED, S.HANDED, S.READ)


@dataclass(frozen=True, slots=True)
class Receipt:
    """One receiver's progress with one message."""

    message_id: int
    agent_id: str
    state: S = S.STORED
    routed_at: int | None = None
    handed_at: int | None = None
    in_context_at: int | None = None
    read_at: int | None = None
    replied_at: int | None = None
    via: str | None = None
    detail: str | None = None
    attempts: int = 0

    @property
    def is_taken(self) -> bool:
        """Whether the session's side took it: it is not offered again."""
        return self.state in TAKEN


def advance(
    receipt: Receipt, state: S, at: int, via: str | None = None, detail: str | None = None
) -> Receipt:
    """The receipt after a report; the same object when the report is old news."""
    if state is S.FAILED:
        if receipt.is_taken:
            return receipt
        failed = replace(
            receipt, state=S.FAILED, via=via or receipt.via, detail=detail or receipt.detail
        )
        return receipt if failed == receipt else failed
    if RANK[state] < RANK[receipt.state]:
        return receipt
    if state is receipt.state or (state is S.ROUTED and receipt.state is S.FAILED):
        return receipt
    passed = [_TIME_FIELD[step] for step in _IMPLIED if RANK[step] < RANK[state]]
    times: dict[str, Any] = {name: at for name in passed if getattr(receipt, name) is None}
    times[_TIME_FIELD[state]] = at
    detail = receipt.detail if detail is None else detail
    return replace(receipt, state=state, via=via or receipt.via, detail=detail, **times)


def has_reached(state: S, wanted: S) -> bool:
    """Whether a receiver in `state` got at least as far as `wanted`."""
    if wanted in RANK and state in RANK and wanted is not S.FAILED and state is not S.FAILED:
        return RANK[state] >= RANK[wanted]
    return state is wanted
