"""Removing what is older than it has to be kept, a few rows at a time and none looked at twice.

Receipts, search rows, events and callbacks go with what they belong to: by foreign keys and
triggers of the schema.
"""

from typing import Final

from relay_server.store.database import Transaction

# Work that somebody may still take. What has expired nobody can take any more.
_IS_WORK: Final = (
    "claimable = 1 AND completed_at IS NULL AND (expires_at IS NULL OR expires_at > ?)"
)


def remove_messages(
    transaction: Transaction, after: int, before: int, now: int, most: int
) -> tuple[int, bool]:
    """Look at up to `most` messages between the ids, and remove them unless they are open work.

    Where to go on, and whether there is more.
    """
    rows = transaction.all(
        "SELECT id FROM messages WHERE id > ? AND id < ? ORDER BY id LIMIT ?",
        (after, before, most),
    )
    if not rows:
        return before - 1, False
    last = int(rows[-1][0])
    transaction.run(
        f"DELETE FROM messages WHERE id > ? AND id <= ? AND NOT ({_IS_WORK})", (after, last, now)
    )
    return last, len(rows) == most


def remove_completed(transaction: Transaction, before: int, most: int) -> int:
    """Remove messages that were open when their time came and are not any more; how many went."""
    return transaction.run(
        "DELETE FROM messages WHERE id IN (SELECT id FROM messages"
        " WHERE completed_at IS NOT NULL AND id < ? ORDER BY id LIMIT ?)",
        (before, most),
    )


def remove_tasks(transaction: Transaction, before: int, most: int) -> int:
    """Remove tasks that ended before; how many went."""
    return transaction.run(
        "DELETE FROM tasks WHERE id IN"
        " (SELECT id FROM tasks WHERE ended_at < ? ORDER BY ended_at LIMIT ?)",
        (before, most),
    )
