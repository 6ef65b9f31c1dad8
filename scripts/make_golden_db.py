"""Write tests/data/schema/vN.sql: today's schema with a row of everything, as SQL text.

Run it once when a migration is added, before its release. An existing file is a promise to
everyone who has such a database, so it is never written again.
"""

import sqlite3
import sys
import tempfile
from pathlib import Path

from relay_server.domain.agent import Agent
from relay_server.domain.message import Message
from relay_server.domain.receipt import Receipt
from relay_server.store import agents, answers, machines, messages, receipts
from relay_server.store.database import Database
from relay_server.store.migrations import APPLICATION_ID, MIGRATIONS
from relay_server.wire import ReceiptState

_FOLDER = Path(__file__).resolve().parent.parent / "tests" / "data" / "schema"
_AT = 1_795_000_000_000


def main() -> None:
    """Refuses to overwrite."""
    target = _FOLDER / f"v{len(MIGRATIONS)}.sql"
    if target.exists():
        sys.exit(f"{target.name} exists; a released schema does not change")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "golden.db"
        _fill(path)
        target.write_text(_dump(path), encoding="utf-8")
    print(f"wrote {target.name}")


def _fill(path: Path) -> None:
    database = Database(path)
    with database.write() as transaction:
        # The built-in agents are as old as the database; a dump must not depend on the day.
        transaction.run("UPDATE agents SET registered_at = ?", (_AT,))
        for agent in _agents():
            agents.save(transaction, agent)
        agents.add_instance(transaction, "worker", "instance-1", 1)
        for message in _messages():
            messages.insert(transaction, message)
        receipt = Receipt(1, "worker", ReceiptState.READ, _AT, _AT, _AT, _AT, None, "hook", None, 2)
        receipts.save(transaction, [receipt])
        machine = machines.Machine("box", {"hostname": "box", "os": "linux"}, True, _AT, _AT)
        machines.save(transaction, machine)
        answer = answers.Answer("hash", 201, '{"id":"worker"}')
        answers.save(transaction, "agents", "worker", "key-1", answer, _AT)
    database.close()


def _agents() -> list[Agent]:
    return [
        Agent(
            id="worker",
            name="shop (codex @ box)",
            label="Wörker",
            label_by_person=True,
            machine="box",
            tags=("web", "night"),
            capabilities=("chat",),
            channels=("ops",),
            status="busy",
            instance_id="instance-1",
            meta={"note": "kept"},
            registered_at=_AT,
            last_seen_at=_AT,
        ),
        Agent(id="asker", name="asker", registered_at=_AT, last_seen_at=_AT),
    ]


def _messages() -> list[Message]:
    plain = Message(
        id=1,
        sender="asker",
        target="worker",
        addressed_to="worker",
        body="Is the migration clean? ✓",
        subject="migration",
        channel=None,
        reply_to=None,
        thread_id=1,
        kind="message",
        priority="normal",
        claimable=False,
        payload='{"rows": 7}',
        recipients=1,
        held_reason=None,
        released_at=None,
        idempotency_key="key-1",
        idempotency_hash="hash",
        claim_agent=None,
        claimed_at=None,
        claim_expires_at=None,
        completed_at=None,
        created_at=_AT,
        expires_at=None,
    )
    claimed = Message(
        id=2,
        sender="asker",
        target="tag:web",
        addressed_to="tag:web",
        body="Run the tests",
        subject=None,
        channel="ops",
        reply_to=1,
        thread_id=1,
        kind="message",
        priority="high",
        claimable=True,
        payload=None,
        recipients=1,
        held_reason="loop_guard",
        released_at=_AT,
        idempotency_key=None,
        idempotency_hash=None,
        claim_agent="worker",
        claimed_at=_AT,
        claim_expires_at=_AT + 900_000,
        completed_at=_AT + 1,
        created_at=_AT,
        expires_at=_AT + 86_400_000,
    )
    return [plain, claimed]


def _dump(path: Path) -> str:
    connection = sqlite3.connect(path)
    try:
        lines = [
            f"PRAGMA application_id = {APPLICATION_ID};",
            f"PRAGMA user_version = {len(MIGRATIONS)};",
            *connection.iterdump(),
        ]
    finally:
        connection.close()
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
