"""Rows of agents, their changing addresses and their instances."""

import json
from collections.abc import Iterable
from typing import Any, Final

from relay_server.domain.agent import Agent
from relay_server.domain.routing import extra_addresses
from relay_server.store import tallies
from relay_server.store.database import Reader, Transaction
from relay_server.wire import BROADCAST, AgentStatus

_LISTS: Final = ("tags", "capabilities", "channels")
COLUMNS: Final = tuple(Agent.__dataclass_fields__)
_SELECT: Final = f"SELECT {', '.join(COLUMNS)} FROM agents"
# Any number of ids as one parameter.
_EACH: Final = "SELECT value FROM json_each(?)"
_UPSERT: Final = (
    f"INSERT INTO agents ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
    f" ON CONFLICT (id) DO UPDATE SET {', '.join(f'{c} = excluded.{c}' for c in COLUMNS[1:])}"
)


def _agent(row: tuple[Any, ...]) -> Agent:
    values = dict(zip(COLUMNS, row, strict=True))
    for name in _LISTS:
        values[name] = tuple(json.loads(values[name]))
    values["meta"] = json.loads(values["meta"])
    values["built_in"] = bool(values["built_in"])
    values["label_by_person"] = bool(values["label_by_person"])
    return Agent(**values)


def _row(agent: Agent) -> list[Any]:
    values: list[Any] = []
    for name in COLUMNS:
        value = getattr(agent, name)
        if name in _LISTS:
            value = json.dumps(list(value))
        elif name == "meta":
            value = json.dumps(value, ensure_ascii=False)
        elif isinstance(value, bool):
            value = int(value)
        values.append(value)
    return values


def get(reader: Reader, agent_id: str) -> Agent | None:
    """One agent."""
    row = reader.one(f"{_SELECT} WHERE id = ?", (agent_id,))
    return _agent(row) if row else None


def exists(reader: Reader, agent_id: str) -> bool:
    """Whether it is registered."""
    return reader.one("SELECT 1 FROM agents WHERE id = ?", (agent_id,)) is not None


def all_agents(reader: Reader) -> list[Agent]:
    """Everyone, built-in ones last, by id."""
    return [_agent(row) for row in reader.all(f"{_SELECT} ORDER BY built_in, id")]


def find(
    reader: Reader, equal: dict[str, str], mentions: str | None, most: int | None
) -> list[Agent]:
    """The first `most` whose columns equal the given values; `label` whatever its case.

    `mentions`: folded text that is in the id, name, label, project or a tag.
    """
    conditions, values = ["1"], list[Any]()
    for column, value in equal.items():
        if column in ("tag", "capability", "label"):
            prefix = {"tag": "tag", "capability": "cap", "label": "label"}[column]
            text = value.strip().casefold() if column == "label" else value
            conditions.append("id IN (SELECT agent_id FROM agent_addresses WHERE address = ?)")
            values.append(f"{prefix}:{text}")
        else:
            assert column in COLUMNS
            conditions.append(f"{column} = ?")
            values.append(value)
    chosen = f"WHERE {' AND '.join(conditions)} ORDER BY built_in, id"
    if mentions is not None:
        # SQLite folds ASCII only. Most agents need not be read as a whole for this.
        texts = reader.all(f"SELECT id, name, label, project, tags FROM agents {chosen}", values)
        found = [row[0] for row in texts if _mentions(row, mentions)][:most]
        chosen, values = f"WHERE id IN ({_EACH}) ORDER BY built_in, id", [json.dumps(found)]
    limit = -1 if most is None else most
    return [_agent(row) for row in reader.all(f"{_SELECT} {chosen} LIMIT ?", [*values, limit])]


def _mentions(row: tuple[Any, ...], folded: str) -> bool:
    *texts, tags = row
    if any(text is not None and folded in text.casefold() for text in texts):
        return True
    return any(folded in tag.casefold() for tag in json.loads(tags))


def addressed(reader: Reader, address: str) -> list[Agent]:
    """Who has that address now: an id, a tag, a capability, a label, or everyone."""
    if address == BROADCAST:
        return all_agents(reader)
    if ":" not in address:
        agent = get(reader, address)
        return [agent] if agent else []
    sql = (
        f"{_SELECT} WHERE id IN (SELECT agent_id FROM agent_addresses WHERE address = ?)"
        " ORDER BY built_in, id"
    )
    return [_agent(row) for row in reader.all(sql, (address,))]


_HEARS: Final = (
    " AND (? IS NULL OR agents.channels = '[]'"
    " OR EXISTS (SELECT 1 FROM json_each(agents.channels) WHERE value = ?))"
)


def count_receivers(reader: Reader, address: str, sender: str, channel: str | None) -> int | None:
    """How many match now, without the sender and the built-in ones.

    None when the address is an id that nobody has: the same query answers both.
    """
    if address == BROADCAST:
        sql = "SELECT count(*) FROM agents WHERE built_in = 0 AND id <> ?"
        row = reader.one(sql + _HEARS, (sender, channel, channel))
    elif ":" not in address:
        sql = "SELECT built_in = 0 AND id <> ?" + _HEARS + " FROM agents WHERE id = ?"
        row = reader.one(sql, (sender, channel, channel, address))
    else:
        sql = (
            "SELECT count(*) FROM agent_addresses JOIN agents ON agents.id = agent_id"
            " WHERE address = ? AND built_in = 0 AND agent_id <> ?"
        )
        row = reader.one(sql + _HEARS, (address, sender, channel, channel))
    return None if row is None else int(row[0])


def save(transaction: Transaction, agent: Agent) -> None:
    """Write all of it, and its addresses when they changed."""
    transaction.run(_UPSERT, _row(agent))
    wanted = extra_addresses(agent.tags, agent.capabilities, agent.label)
    found = transaction.all("SELECT address FROM agent_addresses WHERE agent_id = ?", (agent.id,))
    present = {row[0] for row in found}
    for address in present - wanted:
        transaction.run(
            "DELETE FROM agent_addresses WHERE address = ? AND agent_id = ?", (address, agent.id)
        )
    for address in wanted - present:
        transaction.run("INSERT INTO agent_addresses VALUES (?, ?)", (address, agent.id))


def touch(transaction: Transaction, agent_ids: Iterable[str], now: int) -> None:
    """Seen now; nothing else changes."""
    transaction.run_many(
        "UPDATE agents SET last_seen_at = ? WHERE id = ?", [(now, agent) for agent in agent_ids]
    )


def set_cursor(transaction: Transaction, agent_id: str, cursor: int) -> None:
    """Where the agent's default reads begin."""
    transaction.run("UPDATE agents SET cursor = ? WHERE id = ?", (cursor, agent_id))


def set_last_proof(transaction: Transaction, agent_id: str, at: int) -> None:
    """When a message was last seen arriving in its context."""
    transaction.run("UPDATE agents SET last_proof_at = ? WHERE id = ?", (at, agent_id))


def remove(transaction: Transaction, agent_id: str) -> bool:
    """Forget it. Its messages and receipts stay."""
    return bool(transaction.run("DELETE FROM agents WHERE id = ? AND built_in = 0", (agent_id,)))


def instance_epoch(reader: Reader, agent_id: str, instance_id: str) -> int | None:
    """The epoch an instance had, if it ever registered."""
    row = reader.one(
        "SELECT epoch FROM agent_instances WHERE agent_id = ? AND instance_id = ?",
        (agent_id, instance_id),
    )
    return int(row[0]) if row else None


def add_instance(transaction: Transaction, agent_id: str, instance_id: str, epoch: int) -> None:
    """Remember an instance, so that it is known when a newer one has replaced it."""
    transaction.run(
        "INSERT OR IGNORE INTO agent_instances VALUES (?, ?, ?)", (agent_id, instance_id, epoch)
    )


def silent_since(reader: Reader, before: int, most: int) -> list[Agent]:
    """Agents that are not offline but were last seen before."""
    sql = (
        f"{_SELECT} INDEXED BY agents_seen"
        " WHERE built_in = 0 AND last_seen_at < ? AND status <> 'offline' LIMIT ?"
    )
    return [_agent(row) for row in reader.all(sql, (before, most))]


def offline_since(reader: Reader, before: int, most: int) -> list[Agent]:
    """Agents that went offline before."""
    sql = f"{_SELECT} INDEXED BY agents_offline WHERE built_in = 0 AND offline_since < ? LIMIT ?"
    return [_agent(row) for row in reader.all(sql, (before, most))]


def names(reader: Reader) -> list[tuple[str, str | None]]:
    """(id, label) of everyone."""
    return [(row[0], row[1]) for row in reader.all("SELECT id, label FROM agents")]


def count_by_status(reader: Reader) -> dict[str, int]:
    """How many agents, without the built-in ones, are in each status."""
    return tallies.by_word(reader, "agents", AgentStatus)
