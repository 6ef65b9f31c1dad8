"""For whom a token may speak: its own machine's agents, and never the people's own voice.

Read by every call that names an agent as the one who acts.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from relay_server.domain.access import Principal
from relay_server.errors import Forbidden
from relay_server.store import agents
from relay_server.store.database import Database
from relay_server.wire import BUILT_IN_AGENTS, TokenScope


class Voices:
    """Thread-safe; owns nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def require(self, principal: Principal, agent_ids: Iterable[str]) -> None:
        """Raises: Forbidden `sender_forbidden`. Agents nobody knows are not decided here."""
        if principal.is_admin or _only_looks(principal):
            return
        wanted = list(agent_ids)
        for agent_id in wanted:
            if agent_id in BUILT_IN_AGENTS:
                raise _forbidden(f"This token may not speak as {agent_id}.")
        if principal.machine is None or not wanted:
            return
        with self._database.read() as reader:
            for agent_id in wanted:
                agent = agents.get(reader, agent_id)
                if agent is not None and agent.machine != principal.machine:
                    raise _forbidden(
                        f"{agent_id} is not an agent of {principal.machine},"
                        " for which this token was made."
                    )

    def require_machine(self, principal: Principal, machine: str | None) -> None:
        """Raises: Forbidden `sender_forbidden` when a bound token names another machine."""
        if principal.machine is None or _only_looks(principal):
            return
        if machine not in (None, principal.machine):
            raise _forbidden(f"This token was made for the machine {principal.machine}.")

    def registration(self, principal: Principal, given: Mapping[str, Any]) -> dict[str, Any]:
        """What a token registers, with its machine filled in. Raises: Forbidden."""
        self.require(principal, [given["id"]])
        self.require_machine(principal, given.get("machine"))
        if principal.machine is None:
            return dict(given)
        return {**given, "machine": principal.machine}


def _only_looks(principal: Principal) -> bool:
    """Reading is no speaking: everyone's messages are open to it anyway."""
    return principal.scope is TokenScope.READ


def _forbidden(detail: str) -> Forbidden:
    return Forbidden(detail, code="sender_forbidden")
