"""The seam between the supervisor and a provider's live session.

The supervisor owns every state (session row, inbox rows, receipts). An adapter owns only its
connection: it reports what it sees through `SessionPort` and carries out `push`. Everything here
runs on the daemon's one event loop, so no locks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from relay_server.wire import AgentStatus, Priority, Reachability


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One or more messages on their way into one session's context as one block of text."""

    id: str
    """Ours, unique for ever (``d-`` and 16 hex digits); the receipt of Codex carries it back."""
    message_ids: tuple[int, ...]
    text: str
    """The exact text; its presence in the session's context is the proof."""
    priority: Priority


class Outcome(StrEnum):
    """What became of a push."""

    HANDED = "handed"
    """The provider took it; proof follows through `SessionPort.proved`."""
    RINGING = "ringing"
    """A doorbell was rung; the session's hook will ask `take_mail` for the text."""
    NOT_NOW = "not_now"
    """Nothing was handed over (not connected, busy with no queue): offer it again on
    `SessionPort.ready`."""
    UNKNOWN = "unknown"
    """The connection broke in between: it may or may not have arrived. The supervisor asks
    `find_evidence` before it offers the delivery again."""


class SessionPort(Protocol):
    """What the supervisor offers an adapter. All calls return at once and never raise."""

    key: str
    folder: Path
    cwd: Path

    def opened(
        self, provider_session_id: str, *, cwd: Path, meta: Mapping[str, Any] | None = None
    ) -> None:
        """The conversation is known (first time, or another one after /clear, /new)."""

    def introduction(self) -> str:
        """What the session is told once at its start (`relay_launchers.frame.introduction`);
        empty until `opened` was called."""

    def status(self, status: AgentStatus, detail: str | None = None) -> None:
        """Busy, idle or waiting, from the provider's own signal."""

    def reachable(self, reachability: Reachability) -> None:
        """How messages get in at present."""

    def proved(self, delivery_id: str, *, via: str) -> None:
        """The delivery was seen in the session's own turn or transcript."""

    def lost(self, delivery_id: str) -> None:
        """Handed over or taken at the doorbell, but it did not arrive and will not any more
        (the adapter looked for evidence): offer it again, the adapter now knows a better way."""

    def ready(self) -> None:
        """Pushing is worth another try."""


class Adapter(Protocol):
    """A provider's transport into one live session."""

    async def run(self) -> None:
        """Connect, follow and reconnect until cancelled. Must survive its peer's restarts."""

    async def push(self, delivery: Delivery) -> Outcome:
        """Hand one delivery over, by the first way of the ladder that works now."""

    async def find_evidence(self, delivery: Delivery) -> bool | None:
        """Is the delivery in the context (or queued to enter)? None: cannot tell yet."""

    async def hook(
        self, event: str, payload: Mapping[str, Any], environment: Mapping[str, str]
    ) -> Mapping[str, Any]:
        """A hook of this session reports `event`; answer what the hook prints (may be empty).

        `environment` holds what the hook passes on of its own environment.
        """

    def outstanding(self, deliveries: list[Delivery]) -> None:
        """These were handed and lack proof (given at start, and after each change)."""
