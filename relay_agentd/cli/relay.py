"""The relay, as a command reaches it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from relay_agentd.cli import machine
from relay_agentd.errors import AgentdError, DaemonUnreachable, RelayRefused

if TYPE_CHECKING:  # httpx costs a tenth of a second that --help need not pay
    from relay_agentd.relay_client import RelayClient


@contextmanager
def relay() -> Iterator["RelayClient"]:
    """A client of the relay in the settings. Raises: SettingsInvalid."""
    from relay_agentd.relay_client import RelayClient

    settings = machine.settings()
    with RelayClient(settings.url, settings.token) as client:
        yield client


def find_agent(client: "RelayClient", name: str) -> dict[str, Any]:
    """The agent with that id, or the only one with that label. Raises: RelayRefused."""
    from relay_agentd import relay_calls

    try:
        agent: dict[str, Any] = client.request(relay_calls.agent(name))
    except RelayRefused as error:
        if error.code != "agent_not_found":
            raise
        label = name.removeprefix("label:").casefold()
        found: list[dict[str, Any]] = [
            each
            for each in client.request(relay_calls.agents(q=label))["agents"]
            if (each.get("label") or "").casefold() == label
        ]
        if len(found) != 1:
            raise
        return found[0]
    return agent


def own_agent() -> str | None:
    """The agent of the session this command runs in; None outside of one. Raises: AgentdError."""
    from relay_launchers.base import SESSION_VARIABLE

    key = os.environ.get(SESSION_VARIABLE)
    if not key:
        return None
    try:
        sessions = machine.daemon().call("ps")["sessions"]
    except DaemonUnreachable as error:
        raise AgentdError(f"{error}, and only it knows which session this is") from error
    for session in sessions:
        if session["key"] == key and session.get("agentId"):
            return str(session["agentId"])
    raise AgentdError("this session is not on the relay (yet): name the agent by its id")
