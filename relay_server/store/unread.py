"""How many messages agents have not read: for one of them or for thousands, by one rule.

Up to its cursor an agent has taken everything, so only what it took and has not read counts
there, and what an operator let through since; behind it, everything it can see and has not read.
A message has one target: what is behind the cursors is read once for each address, and agents
share it. So the cost follows what is unread, not what was ever sent.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from relay_server.domain.agent import Agent
from relay_server.domain.routing import Card, hears
from relay_server.store.database import Reader, Row

# Counting stops here, for an address and for an agent: nobody needs to know more exactly.
MOST: Final = 1000

_FIELDS: Final = "m.id, m.target, m.sender, m.channel"
_VISIBLE: Final = (
    "(m.held_reason IS NULL OR m.released_at IS NOT NULL)"
    " AND (m.expires_at IS NULL OR m.expires_at > :now)"
)
_NEWEST: Final = (
    f"SELECT {_FIELDS} FROM messages m WHERE m.target = :target AND m.id > :after AND {_VISIBLE}"
    " ORDER BY m.id DESC LIMIT :most"
)
# By themselves these two would walk all messages and all receipts; their indexes have a few rows.
_LET_THROUGH: Final = (
    f"SELECT {_FIELDS} FROM messages m INDEXED BY messages_released"
    f" WHERE m.released_at IS NOT NULL AND {_VISIBLE} ORDER BY m.id DESC LIMIT :most"
)
_TAKEN: Final = (
    f"SELECT {_FIELDS} FROM receipts r INDEXED BY receipts_unread"
    " CROSS JOIN messages m ON m.id = r.message_id"
    " WHERE r.agent_id = :me AND r.message_id > :start AND r.message_id <= :cursor"
    f" AND r.state IN ('handed', 'in_context') AND {_VISIBLE} LIMIT :most"
)
_READ: Final = (
    "SELECT message_id FROM receipts WHERE agent_id = ? AND message_id > ?"
    " AND state IN ('read', 'replied')"
)
_WAS_TAKEN: Final = (
    "SELECT 1 FROM receipts WHERE agent_id = ? AND message_id = ?"
    " AND state IN ('handed', 'in_context', 'read', 'replied')"
)


@dataclass(slots=True)
class _Address:
    """The newest messages to one address, as sorted ids: all, and by whom and by channel."""

    rows: dict[int, Row] = field(default_factory=dict)
    by_channel: dict[str | None, list[int]] = field(default_factory=lambda: defaultdict(list))
    own: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    ids: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, newest: Iterable[Row]) -> "_Address":
        address = cls()
        for row in reversed(list(newest)):
            message_id, _, sender, channel = row
            address.rows[message_id] = row
            address.ids.append(message_id)
            address.by_channel[channel].append(message_id)
            address.own[sender].append(message_id)
        return address

    def count(self, card: Card, after: int) -> int:
        """How many of them the agent sees."""
        if card.channels:
            heard = [self.by_channel.get(channel, []) for channel in (None, *card.channels)]
        else:
            heard = [self.ids]
        seen = sum(len(ids) - bisect_right(ids, after) for ids in heard)
        own = self.own.get(card.agent_id, [])
        return seen - sum(
            hears(card, self.rows[message_id][3]) for message_id in own[bisect_right(own, after) :]
        )


def counts(reader: Reader, agents: Sequence[Agent], *, now: int) -> dict[str, int]:
    """By agent."""
    cards = {agent.id: agent.card for agent in agents}
    after = {agent.id: max(agent.cursor, agent.inbox_start) for agent in agents}
    lowest: dict[str, int] = {}
    for agent_id, card in cards.items():
        for address in card.addresses:
            lowest[address] = min(lowest.get(address, after[agent_id]), after[agent_id])
    addresses = {
        address: _Address.of(
            reader.all(_NEWEST, {"target": address, "after": start, "now": now, "most": MOST})
        )
        for address, start in lowest.items()
    }
    let_through = reader.all(_LET_THROUGH, {"now": now, "most": MOST})
    found = {}
    for agent in agents:
        card = cards[agent.id]
        behind = _behind(reader, card, after[agent.id], addresses)
        before = _taken(reader, agent, card, now) + _late(reader, agent, card, let_through)
        found[agent.id] = min(MOST, behind + before)
    return found


def _behind(reader: Reader, card: Card, after: int, addresses: dict[str, _Address]) -> int:
    """What it sees behind its cursor and has not read."""
    mine = [addresses[address] for address in card.addresses]
    seen = sum(address.count(card, after) for address in mine)
    if not seen:
        return 0
    # Below the oldest of these no receipt matters.
    start = max(after, min(address.ids[0] for address in mine if address.ids) - 1)
    for (message_id,) in reader.all(_READ, (card.agent_id, start)):
        row = next((a.rows[message_id] for a in mine if message_id in a.rows), None)
        if row is not None and _sees(card, row):
            seen -= 1
    return seen


def _taken(reader: Reader, agent: Agent, card: Card, now: int) -> int:
    """What it took, up to its cursor, and has not read."""
    rows = reader.all(
        _TAKEN,
        {
            "me": agent.id,
            "start": agent.inbox_start,
            "cursor": agent.cursor,
            "now": now,
            "most": MOST,
        },
    )
    return sum(_sees(card, row) for row in rows)


def _late(reader: Reader, agent: Agent, card: Card, let_through: Sequence[Row]) -> int:
    """What was let through behind its back: older than its cursor, and not taken yet."""
    return sum(
        agent.inbox_start < row[0] <= agent.cursor
        and _sees(card, row)
        and reader.one(_WAS_TAKEN, (agent.id, row[0])) is None
        for row in let_through
    )


def _sees(card: Card, row: Row) -> bool:
    _, target, sender, channel = row
    return target in card.addresses and sender != card.agent_id and hears(card, channel)
