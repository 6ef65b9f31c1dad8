"""Write tests/data/schema/vN.sql: today's schema with a row of everything, as SQL text.

Run it once when a migration is added, before its release. An existing file is a promise to
everyone who has such a database, so it is never written again.
"""

import re
import sqlite3
import sys
import tempfile
from pathlib import Path

from relay_server.domain.access import Integration
from relay_server.domain.agent import Agent
from relay_server.domain.approval import Approval
from relay_server.domain.callback import Attempt, Verdict
from relay_server.domain.command import Command
from relay_server.domain.message import Message
from relay_server.domain.receipt import Receipt
from relay_server.domain.task import Task
from relay_server.domain.token import Token
from relay_server.store import (
    agents,
    answers,
    approvals,
    callbacks,
    commands,
    integrations,
    machines,
    messages,
    receipts,
    search,
    tasks,
    tokens,
)
from relay_server.store.database import Database, Transaction
from relay_server.store.migrations import APPLICATION_ID, MIGRATIONS
from relay_server.wire import (
    CallbackStatus,
    CommandKind,
    IntegrationScope,
    ReceiptState,
    TaskStatus,
    TokenScope,
)

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
        _fill_work(transaction)
        _fill_access(transaction)
        search.index_more(transaction, 100, 2)
    database.close()


def _fill_work(transaction: Transaction) -> None:
    """A task with its history and a callback that was tried once; a question; a command."""
    tasks.insert(transaction, _task())
    event = tasks.TaskEvent(
        task_id=1,
        type="task.created",
        at=_AT,
        actor="ci",
        status=TaskStatus.OPEN,
        detail={"note": "kept"},
    )
    tasks.add_event(transaction, event)
    callbacks.insert(
        transaction,
        delivery_id="delivery-1",
        task_id=1,
        integration="ci",
        event="task.created",
        task='{"id":1}',
        now=_AT,
    )
    (callback,) = callbacks.of_task(transaction, 1, 1)
    attempt = Attempt(1, _AT, 503, None, 12)
    verdict = Verdict(CallbackStatus.PENDING, _AT + 1000)
    callbacks.record(transaction, callback, attempt, verdict, _AT)
    approval = Approval(
        id=1,
        agent_id="worker",
        tool="Bash",
        summary="rm build",
        input='{"command": "rm build"}',
        created_at=_AT,
        expires_at=_AT + 600_000,
    )
    approvals.save(transaction, approval)
    command = Command(
        id=1,
        machine="box",
        kind=CommandKind.STOP,
        agent_id="worker",
        input='{"force": false}',
        requested_by="operator",
        created_at=_AT,
        updated_at=_AT,
    )
    commands.save(transaction, command)


def _task() -> Task:
    return Task(
        id=1,
        source="ci",
        integration="ci",
        dedupe_key="build:main",
        title="The build fails",
        body="since this morning",
        severity="critical",
        target="tag:web",
        addressed_to="tag:web",
        channel="ops",
        status=TaskStatus.DONE,
        claimed_by="worker",
        claimed_at=_AT,
        lease_expires_at=_AT + 900_000,
        progress=100,
        result={"commit": "abc"},
        external_url="https://ci.example/1",
        metadata={"branch": "main"},
        occurrence_count=3,
        message_id=2,
        created_at=_AT,
        first_seen_at=_AT,
        last_seen_at=_AT + 2,
        updated_at=_AT + 3,
        ended_at=_AT + 3,
    )


def _fill_access(transaction: Transaction) -> None:
    integration = Integration(
        name="ci",
        scopes=frozenset({IntegrationScope.TASKS_CREATE}),
        targets=("tag:web",),
        channels=("ops",),
        callback_url="https://ci.example/hook",
        callback_secret="signs",
        webhook_secret="checks",
    )
    integrations.add(transaction, integrations.Stored(integration, "hash-of-ci", _AT))
    token = Token(
        id=0,
        name="laptop",
        scope=TokenScope.AGENT,
        machine="box",
        hash="hash-of-laptop",
        created_at=_AT,
        expires_at=_AT + 86_400_000,
        last_used_at=None,
    )
    tokens.add(transaction, token)


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
        indexed = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL TABLE%'"
        ).fetchall()
        statements = [s for s in connection.iterdump() if not _is_of_an_index(s)]
    finally:
        connection.close()
    # An index of texts is made anew: what SQLite keeps of one cannot be inserted row by row.
    first = next(n for n, s in enumerate(statements) if s.startswith("CREATE TRIGGER"))
    statements[first:first] = [
        f"{sql};\nINSERT INTO {name} ({name}) VALUES ('rebuild');" for name, sql in indexed
    ]
    lines = [
        f"PRAGMA application_id = {APPLICATION_ID};",
        f"PRAGMA user_version = {len(MIGRATIONS)};",
        *statements,
    ]
    return "\n".join(lines) + "\n"


def _is_of_an_index(statement: str) -> bool:
    if "writable_schema" in statement or statement.startswith("INSERT INTO sqlite_master"):
        return True
    return re.match(r"""(CREATE TABLE|INSERT INTO) ['"]\w+_search""", statement) is not None


if __name__ == "__main__":
    main()
