"""First answers to requests with an idempotency key (messages keep theirs in their own row)."""

from dataclasses import dataclass

from relay_server.store.database import Reader, Transaction


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered, and to what."""

    request_hash: str
    status: int
    body: str


def get(reader: Reader, scope: str, sender: str, key: str, after: int) -> Answer | None:
    """The answer given since `after`."""
    row = reader.one(
        "SELECT request_hash, status, body FROM idempotent_answers"
        " WHERE scope = ? AND sender = ? AND key = ? AND created_at > ?",
        (scope, sender, key, after),
    )
    return Answer(*row) if row else None


def save(
    transaction: Transaction, scope: str, sender: str, key: str, answer: Answer, now: int
) -> None:
    """Keep it; an older one under the same key is past its time."""
    transaction.run(
        "INSERT OR REPLACE INTO idempotent_answers VALUES (?, ?, ?, ?, ?, ?, ?)",
        (scope, sender, key, answer.request_hash, answer.status, answer.body, now),
    )


def remove_older(transaction: Transaction, before: int, most: int) -> int:
    """Remove those past their time; how many went."""
    return transaction.run(
        "DELETE FROM idempotent_answers WHERE (scope, sender, key) IN"
        " (SELECT scope, sender, key FROM idempotent_answers WHERE created_at < ? LIMIT ?)",
        (before, most),
    )
