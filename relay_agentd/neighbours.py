"""Which agents of this machine a message is for, by the relay's rules of routing.

Used while the relay is away, for every kind of target; it decides again when it is back, for
everybody else. Owns nothing; runs on the daemon's loop.
"""

from collections.abc import Mapping
from typing import Any, Final

from relay_agentd.relay_link import RelayLink
from relay_agentd.session_state import SessionState
from relay_agentd.store.sessions import SessionRow
from relay_agentd.supervisor import Supervisor
from relay_server.wire import BROADCAST

# A session that is on its way out gets its mail when it is resumed. One in BACKOFF comes back.
_HERE: Final = frozenset({SessionState.STARTING, SessionState.RUNNING, SessionState.BACKOFF})


class LocalAgents:
    """The agents of a supervisor's sessions (`outbox.Neighbours`)."""

    def __init__(self, supervisor: Supervisor, link: RelayLink) -> None:
        self._supervisor = supervisor
        self._link = link

    def receivers(self, message: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Agent ids and their sessions' keys; of two sessions of one agent the newer."""
        rows = [session.row for session in self._supervisor.sessions()]
        found = {
            row.agent_id: row.key
            for row in rows
            if row.agent_id is not None and row.state in _HERE and is_for(message, row)
        }
        return list(found.items())

    def arrived(self, session_key: str) -> None:
        """There is mail in this session's inbox."""
        self._supervisor.find(session_key).mail_arrived()

    def known_to_relay(self) -> None:
        """Receipts of what was delivered here can be reported."""
        self._link.receipts_changed()


def is_for(message: Mapping[str, Any], row: SessionRow) -> bool:
    """Would the relay give this session's agent the message?"""
    channel = message.get("channel")
    hears = not channel or not row.channels or channel in row.channels
    return message.get("from") != row.agent_id and hears and _is_target(message.get("to"), row)


def _is_target(target: object, row: SessionRow) -> bool:
    if not isinstance(target, str):
        return False
    kind, separator, name = target.partition(":")
    if not separator:
        return target in (row.agent_id, BROADCAST)
    if kind == "label":
        return name.strip().casefold() == (row.label or "").strip().casefold() != ""
    return name in {"tag": row.tags, "cap": row.capabilities}.get(kind, ())
