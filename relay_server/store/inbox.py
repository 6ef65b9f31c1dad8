"""What one agent may read: a union of index ranges, one for each of its addresses.

Its cost follows the number of addresses and of rows read, never the size of the table.
"""

from typing import Any, Final

from relay_server.domain.message import Message
from relay_server.domain.routing import Card
from relay_server.store import messages
from relay_server.store.database import Reader

_TAKEN: Final = "('handed', 'in_context', 'read', 'replied')"
_RECEIPT: Final = "SELECT 1 FROM receipts r WHERE r.agent_id = :me AND r.message_id = m.id"
UNHANDED: Final = f"NOT EXISTS ({_RECEIPT} AND r.state IN {_TAKEN})"
UNREAD: Final = f"NOT EXISTS ({_RECEIPT} AND r.state IN ('read', 'replied'))"
_VISIBLE: Final = (
    "m.sender <> :me AND (m.held_reason IS NULL OR m.released_at IS NOT NULL)"
    " AND (m.expires_at IS NULL OR m.expires_at > :now)"
)
_OPEN: Final = (
    "m.id <= :until AND m.claimable = 1 AND m.completed_at IS NULL"
    " AND (m.claim_agent IS NULL OR m.claim_expires_at <= :now)"
)
_LET_THROUGH: Final = "m.id <= :until AND m.id > :start AND m.released_at IS NOT NULL"


def _parameters(card: Card, now: int, limit: int) -> dict[str, Any]:
    values: dict[str, Any] = {"me": card.agent_id, "now": now, "limit": limit}
    values |= {f"a{i}": address for i, address in enumerate(sorted(card.addresses))}
    values |= {f"c{i}": channel for i, channel in enumerate(sorted(card.channels))}
    return values


def _hears(card: Card) -> str:
    if not card.channels:
        return "1"
    names = ", ".join(f":c{i}" for i in range(len(card.channels)))
    return f"(m.channel IS NULL OR m.channel IN ({names}))"


def _union(card: Card, fields: str, conditions: list[str]) -> str:
    where = " AND ".join([_VISIBLE, _hears(card), *conditions])
    parts = [
        f"SELECT * FROM (SELECT {fields} FROM messages m WHERE m.target = :a{i} AND {where}"
        " ORDER BY m.id LIMIT :limit)"
        for i in range(len(card.addresses))
    ]
    return f"{' UNION ALL '.join(parts)} ORDER BY 1 LIMIT :limit"


def after(
    reader: Reader,
    card: Card,
    since: int,
    *,
    now: int,
    limit: int,
    conditions: tuple[str, ...] = (),
    channel: str | None = None,
) -> list[Message]:
    """Messages newer than `since` and than the inbox's start, oldest first."""
    values = _parameters(card, now, limit) | {"since": max(since, card.inbox_start)}
    wanted = ["m.id > :since", *conditions]
    if channel is not None:
        wanted.append("m.channel = :channel")
        values["channel"] = channel
    return [Message(*row) for row in reader.all(_union(card, messages.FIELDS, wanted), values)]


def late(
    reader: Reader,
    card: Card,
    between: tuple[int, int],
    *,
    now: int,
    limit: int,
    conditions: tuple[str, ...] = (UNHANDED,),
    channel: str | None = None,
) -> list[Message]:
    """What is shown though it is old: open claimable ones, and held ones that an operator let
    through. `between`: newer than the first id, not newer than the second."""
    values = _parameters(card, now, limit) | {"start": card.inbox_start}
    values["since"], values["until"] = between
    wanted = ["m.id > :since", *conditions]
    if channel is not None:
        wanted.append("m.channel = :channel")
        values["channel"] = channel
    found: dict[int, Message] = {}
    for condition in (_OPEN, _LET_THROUGH):
        sql = _union(card, messages.FIELDS, [condition, *wanted])
        found |= {row[0]: Message(*row) for row in reader.all(sql, values)}
    return [found[message_id] for message_id in sorted(found)]


def first_unhanded(reader: Reader, card: Card, until: int, *, now: int) -> int | None:
    """The oldest message up to there that the agent was not handed."""
    if not card.addresses:
        return None
    values = _parameters(card, now, 1) | {"since": card.inbox_start, "until": until}
    row = reader.one(_union(card, "m.id", ["m.id > :since", "m.id <= :until", UNHANDED]), values)
    return int(row[0]) if row else None


def advanced_cursor(reader: Reader, card: Card, cursor: int, *, now: int) -> int:
    """The newest id with nothing un-handed before it."""
    values = _parameters(card, now, _PAGE)
    taken = f"NOT ({UNHANDED})"
    sql = _union(card, f"m.id, {taken}", ["m.id > :since"])
    while True:
        values["since"] = max(cursor, card.inbox_start)
        rows = reader.all(sql, values)
        for message_id, is_taken in rows:
            if not is_taken:
                return cursor
            cursor = message_id
        if len(rows) < _PAGE:
            return cursor


_PAGE: Final = 200
