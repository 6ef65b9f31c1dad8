"""The ways into one session, and what is known of each: for the adapter's choice and for people.

A way is untried until a delivery that went through it was seen in the session's context, and
failed when one was not seen in time; then the next way is used until a new conversation begins.
Owned by an adapter; runs on the daemon's event loop.
"""

from collections.abc import Mapping

from relay_agentd.adapters.base import Way, WayState
from relay_agentd.clock import now


class Ladder:
    """See the module."""

    def __init__(self, *names: str) -> None:
        """The first way first."""
        self._names = names
        self._proved_at: dict[str, float] = {}
        self._failed: dict[str, str] = {}
        self._carried: dict[str, str] = {}

    def takes(self, name: str, *delivery_ids: str) -> None:
        """Deliveries go that way; said before the effect, which its proof may overtake."""
        self._carried.update(dict.fromkeys(delivery_ids, name))

    def drops(self, delivery_id: str) -> None:
        """It did not go that way after all, or nobody knows."""
        self._carried.pop(delivery_id, None)

    def proved(self, delivery_id: str) -> None:
        """It is in the context."""
        name = self._carried.pop(delivery_id, None)
        if name is not None:
            self._proved_at[name] = now()
            self._failed.pop(name, None)

    def lost(self, delivery_id: str) -> None:
        """It was handed over and did not arrive."""
        name = self._carried.pop(delivery_id, None)
        if name is not None:
            self.fail(name, "a message that went this way did not arrive")

    def fail(self, name: str, why: str) -> None:
        """Use the next way."""
        self._failed[name] = why

    def has_failed(self, name: str) -> bool:
        """Is there no point in trying it?"""
        return name in self._failed

    def restart(self) -> None:
        """A new conversation: every way is worth a try again."""
        self._failed.clear()

    def ways(self, absent: Mapping[str, str]) -> tuple[Way, ...]:
        """All of them; `absent`: why this session does not have some."""
        return tuple(self._way(name, absent.get(name)) for name in self._names)

    def _way(self, name: str, absent: str | None) -> Way:
        proved_at = self._proved_at.get(name)
        if absent is not None:
            return Way(name=name, state=WayState.ABSENT, detail=absent)
        if name in self._failed:
            state, detail = WayState.FAILED, self._failed[name]
            return Way(name=name, state=state, detail=detail, proved_at=proved_at)
        state = WayState.UNTRIED if proved_at is None else WayState.PROVED
        return Way(name=name, state=state, proved_at=proved_at)
