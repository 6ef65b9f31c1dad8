"""Finding agents for a caller: the agent, or a helpful 404; and fencing off old instances."""

import difflib
from collections.abc import Iterable
from typing import Final

from relay_server.domain.agent import Agent
from relay_server.errors import Conflict, NotFound
from relay_server.store import agents
from relay_server.store.database import Reader

_MOST: Final = 5
# Shorter pieces are in half of all names.
_SHORTEST_PART: Final = 3
_COMPARED: Final = 500


def require_agent(reader: Reader, agent_id: str, instance: str | None = None) -> Agent:
    """The agent; `instance` is what the caller says it is.

    Raises: NotFound `agent_not_found`, Conflict `stale_instance`.
    """
    agent = agents.get(reader, agent_id)
    if agent is None:
        raise agent_not_found(reader, agent_id)
    fence(agent, instance)
    return agent


def fence(agent: Agent, instance: str | None) -> None:
    """A call of an instance that is not the agent's current one is a zombie's."""
    if instance is None or agent.instance_id is None or instance == agent.instance_id:
        return
    raise Conflict(
        f"{agent.id} was taken over by a newer instance.",
        code="stale_instance",
        extra={"epoch": agent.epoch},
    )


def agent_not_found(reader: Reader, agent_id: str) -> NotFound:
    """The problem to raise, with ids that look alike."""
    return NotFound(
        f"No agent {agent_id} is registered.",
        code="agent_not_found",
        extra={"suggestions": suggestions(reader, agent_id)},
    )


def suggestions(reader: Reader, wanted: str) -> list[str]:
    """Ids whose text, or whose label's text, is close to what was asked for."""
    folded = wanted.casefold()
    by_name: dict[str, str] = {}
    for agent_id, label in agents.names(reader):
        by_name[agent_id.casefold()] = agent_id
        if label:
            by_name.setdefault(label.casefold(), agent_id)
    close = difflib.get_close_matches(folded, _comparable(by_name, folded), n=_MOST, cutoff=0.6)
    parts = [
        name
        for name in by_name
        if min(len(name), len(folded)) >= _SHORTEST_PART and (folded in name or name in folded)
    ]
    found = dict.fromkeys(by_name[name] for name in [*close, *sorted(parts)])
    return list(found)[:_MOST]


def _comparable(names: Iterable[str], folded: str) -> list[str]:
    """All of a few. Of thousands, those that begin alike: comparing takes microseconds each, and
    many agents that were removed may ask at once."""
    alike = list(names)
    if len(alike) > _COMPARED:
        alike = [name for name in alike if name.startswith(folded[:_SHORTEST_PART])]
    return alike[:_COMPARED]
