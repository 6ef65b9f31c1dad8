"""What a Codex thread already holds: which of our messages are in its queue or in its turns.

Asks the app-server each time; owns nothing.
"""

import asyncio
from collections.abc import Collection

from relay_agentd.adapters.codex_connection import CodexConnection, Refused
from relay_launchers.codex import protocol

# Between leaving the queue and showing in its turn a message is nowhere, for some milliseconds.
SECOND_LOOK_SECONDS = 0.3


async def queued(connection: CodexConnection, thread_id: str) -> dict[str, str]:
    """The thread's queue in order: the sender's message id -> the server's id of the entry.

    Empty on servers without a queue. Raises Lost.
    """
    entries: dict[str, str] = {}
    cursor: str | None = None
    while True:
        try:
            page = await connection.call(protocol.list_queue(thread_id, cursor))
        except Refused:
            return entries
        for entry in page.get("data") or []:
            entries[entry.get("clientUserMessageId") or ""] = entry["id"]
        cursor = page.get("nextCursor")
        if not cursor:
            return entries


async def entered(connection: CodexConnection, thread_id: str, wanted: Collection[str]) -> set[str]:
    """Those of the message ids that stand in the thread's turns. Reads from the newest turn
    backwards and stops when all are found. Raises Lost."""
    found: set[str] = set()
    cursor: str | None = None
    while len(found) < len(wanted):
        try:
            page = await connection.call(protocol.list_turns(thread_id, cursor))
        except Refused:
            return found  # no turn yet, so nothing is on disk
        found |= protocol.client_ids(page.get("data") or []).intersection(wanted)
        cursor = page.get("nextCursor")
        if not cursor:
            break
    return found


async def holds(connection: CodexConnection, thread_id: str, message_id: str) -> bool:
    """Whether a message is in the thread or in its queue. Raises Lost."""
    return await _seen(connection, thread_id, message_id) or (
        await asyncio.sleep(SECOND_LOOK_SECONDS, True)
        and await _seen(connection, thread_id, message_id)
    )


async def _seen(connection: CodexConnection, thread_id: str, message_id: str) -> bool:
    return message_id in await queued(connection, thread_id) or bool(
        await entered(connection, thread_id, [message_id])
    )
