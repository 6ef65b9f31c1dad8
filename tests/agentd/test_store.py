"""The store: what is written is found again, and a file that is no good is refused."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from relay_agentd.delivery import DeliveryState, MailState
from relay_agentd.errors import StoreUnusable
from relay_agentd.process import ProcessId
from relay_agentd.session_state import SessionState
from relay_agentd.store import Store
from relay_agentd.store.mail import DeliveryRow
from relay_agentd.store.sessions import SessionRow
from relay_server.wire import ApprovalMode, Priority
from tests.agentd.harness import KEY, OTHER_KEY

AGENT = "box-memory-x-00000000"


@pytest.fixture
def store(tmp_path: Path) -> Any:
    """An open store."""
    opened = Store(tmp_path / "agentd.db")
    yield opened
    opened.close()


def _row(key: str = KEY) -> SessionRow:
    return SessionRow(
        key=key,
        state=SessionState.STARTING,
        provider="codex",
        provider_version="0.169.0",
        cwd=Path("/work"),
        rig="codex",
        approval=ApprovalMode.GUARDED,
        label=None,
        tags=("a", "b"),
        capabilities=("chat",),
        channels=(),
        arguments=("--model", "x"),
        launcher=ProcessId(12, 34.5),
        opened_at=1.0,
    )


def _message(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": number, "from": "b", "to": AGENT, "body": f"text {number}", **fields}


def _cut(store: Store, delivery_id: str, *ids: int) -> DeliveryRow:
    row = DeliveryRow(
        id=delivery_id,
        session_key=KEY,
        message_ids=ids,
        text=f"text of {delivery_id}",
        priority=Priority.NORMAL,
        state=DeliveryState.OFFERED,
        since=1.0,
    )
    store.mail.cut(row, 1.0)
    return row


def test_session_is_found_again_as_it_was_changed(tmp_path: Path) -> None:
    store = Store(tmp_path / "agentd.db")
    store.sessions.add(_row())
    changed = store.sessions.change(
        _row(),
        state=SessionState.RUNNING,
        agent_id=AGENT,
        helper=ProcessId(5, 6.5),
        helper_socket=Path("/run/h.sock"),
        relay_approval=ApprovalMode.READ_ONLY,
    )
    store.close()

    again = Store(tmp_path / "agentd.db")

    assert again.sessions.find(KEY) == changed
    assert again.sessions.live() == [changed]
    again.close()


def test_ended_session_is_not_live(store: Store) -> None:
    store.sessions.add(_row())
    store.sessions.add(_row(OTHER_KEY))
    store.sessions.change(_row(), state=SessionState.EXITED, ended_at=2.0)

    assert [row.key for row in store.sessions.live()] == [OTHER_KEY]


def test_message_that_comes_twice_is_kept_once(store: Store) -> None:
    assert store.mail.receive(AGENT, _message(1), KEY, 0.0)
    assert not store.mail.receive(AGENT, _message(1), KEY, 0.0)

    assert [mail.message_id for mail in store.mail.waiting(KEY, 1.0)] == [1]


def test_message_that_expired_while_it_waited_is_not_offered(store: Store) -> None:
    store.mail.receive(AGENT, _message(1, expiresAt="1970-01-01T00:01:00.000Z"), KEY, 0.0)
    store.mail.receive(AGENT, _message(2, expiresAt="whenever"), KEY, 0.0)

    assert [mail.message_id for mail in store.mail.waiting(KEY, 59.0)] == [1, 2]
    assert [mail.message_id for mail in store.mail.waiting(KEY, 61.0)] == [2]


def test_withdrawn_delivery_gives_its_messages_back(store: Store) -> None:
    store.mail.receive(AGENT, _message(1), KEY, 0.0)
    row = _cut(store, "d-1", 1)
    assert store.mail.waiting(KEY, 1.0) == []

    store.mail.move(row, DeliveryState.WITHDRAWN, 2.0)

    assert [mail.message_id for mail in store.mail.waiting(KEY, 1.0)] == [1]
    assert store.mail.open_deliveries(KEY) == []


def test_late_proof_of_a_withdrawn_delivery_does_not_touch_a_newer_one(store: Store) -> None:
    for number in (1, 2):
        store.mail.receive(AGENT, _message(number), KEY, 0.0)
    old = store.mail.move(_cut(store, "d-1", 1, 2), DeliveryState.WITHDRAWN, 2.0)
    _cut(store, "d-2", 1)

    store.mail.move(old, DeliveryState.IN_CONTEXT, 3.0)

    assert [(r.message_id, r.state) for r in store.mail.unreported()] == [(2, MailState.IN_CONTEXT)]
    assert [row.id for row in store.mail.open_deliveries(KEY)] == ["d-2"]


def test_receipts_are_reported_once_and_again_when_the_relay_asks(store: Store) -> None:
    store.mail.receive(AGENT, _message(1), KEY, 0.0)
    row = _cut(store, "d-1", 1)
    assert store.mail.unreported() == []
    store.mail.move(row, DeliveryState.HANDED, 2.0, "push")

    receipts = store.mail.unreported()
    store.mail.reported(receipts)
    assert [(r.state, r.via) for r in receipts] == [(MailState.HANDED, "push")]
    assert store.mail.unreported() == []

    store.mail.report_again(AGENT, 1)
    assert store.mail.unreported() == receipts


def test_mail_taken_by_the_tool_is_read_and_the_same_call_gets_it_again(store: Store) -> None:
    for number in (1, 2, 3):
        store.mail.receive(AGENT, _message(number), KEY, 0.0)

    first = store.mail.take(KEY, 2, "call-1", 1.0)
    again = store.mail.take(KEY, 2, "call-1", 1.0)
    other = store.mail.take(KEY, 2, "call-2", 1.0)

    assert [message["id"] for message in first] == [1, 2]
    assert again == first
    assert [message["id"] for message in other] == [3]
    assert {receipt.state for receipt in store.mail.unreported()} == {MailState.READ}


def test_resumed_agent_gets_what_its_former_session_was_offered(store: Store) -> None:
    for number in (1, 2):
        store.mail.receive(AGENT, _message(number), KEY, 0.0)
    _cut(store, "d-1", 1)

    store.mail.adopt(AGENT, OTHER_KEY)

    assert [mail.message_id for mail in store.mail.waiting(OTHER_KEY, 1.0)] == [2]
    assert [row.message_ids for row in store.mail.open_deliveries(OTHER_KEY)] == [(1,)]
    assert store.mail.open_deliveries(KEY) == []


def test_message_for_two_agents_of_one_session_is_offered_once(store: Store) -> None:
    store.mail.receive(AGENT, _message(1), KEY, 0.0)
    store.mail.receive("box-memory-x-11111111", _message(1), KEY, 0.0)

    assert [message["id"] for message in store.mail.messages(KEY, [1])] == [1]
    row = store.mail.move(_cut(store, "d-1", 1), DeliveryState.IN_CONTEXT, 2.0)

    assert row.message_ids == (1,)
    assert len(store.mail.unreported()) == 2
    assert store.mail.waiting(KEY, 1.0) == []


def test_old_mail_is_forgotten_but_not_what_still_waits(store: Store) -> None:
    store.sessions.add(_row())
    for number in (1, 2):
        store.mail.receive(AGENT, _message(number), KEY, 0.0)
    store.mail.move(_cut(store, "d-1", 1), DeliveryState.IN_CONTEXT, 1.0)
    store.mail.reported(store.mail.unreported())

    store.mail.prune(before=10.0)

    assert store.mail.find_delivery("d-1") is None
    assert [mail.message_id for mail in store.mail.waiting(KEY, 1.0)] == [2]
    assert store.mail.receive(AGENT, _message(1), KEY, 0.0)


def test_old_mail_for_a_session_that_is_forgotten_too_is_forgotten(store: Store) -> None:
    store.mail.receive(AGENT, _message(1), KEY, 0.0)
    _cut(store, "d-1", 1)
    store.mail.receive(AGENT, _message(2), None, 0.0)
    store.mail.receive(AGENT, _message(3), None, 20.0)

    store.mail.prune(before=10.0)
    store.sessions.add(_row(OTHER_KEY))
    store.mail.adopt(AGENT, OTHER_KEY)

    assert store.mail.find_delivery("d-1") is None
    assert [mail.message_id for mail in store.mail.waiting(OTHER_KEY, 21.0)] == [3]


def test_outbox_keeps_order_and_one_row_a_key(store: Store) -> None:
    assert store.outbox.add({"body": "a"}, "k1", 0.0)
    assert store.outbox.add({"body": "b"}, "k2", 0.0)
    assert not store.outbox.add({"body": "c"}, "k1", 0.0)

    first = store.outbox.first()
    assert first is not None
    assert first.message == {"body": "a", "payload": {"agentRelay": {"key": "k1"}}}
    store.outbox.failed(first.seq)
    again = store.outbox.first()
    assert again is not None
    assert again.attempts == 1
    store.outbox.sent(first.seq, {"id": 7, "body": "a"})
    assert store.outbox.count() == 1


def test_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "agentd.db"
    Store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()

    with pytest.raises(StoreUnusable, match="newer version") as caught:
        Store(path)
    assert caught.value.exit_status == 3


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" * 50])
def test_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "agentd.db"
    path.write_bytes(content)

    with pytest.raises(StoreUnusable, match=r"agentd\.db"):
        Store(path)


def test_database_that_another_program_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "agentd.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")

    with pytest.raises(StoreUnusable, match="locked"):
        Store(path)
    holder.close()


def test_database_that_is_locked_while_it_is_used_is_named(store: Store, tmp_path: Path) -> None:
    holder = sqlite3.connect(tmp_path / "agentd.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnusable, match=r"agentd\.db cannot be used: database is locked"):
        store.mail.receive(AGENT, _message(1), KEY, 0.0)

    holder.close()
    assert store.mail.receive(AGENT, _message(1), KEY, 0.0)


def test_transaction_that_fails_leaves_nothing(store: Store) -> None:
    store.sessions.add(_row())
    with pytest.raises(sqlite3.IntegrityError):
        store.sessions.add(_row())

    store.sessions.add(_row(OTHER_KEY))
    assert len(store.sessions.live()) == 2


def test_database_file_is_private(tmp_path: Path) -> None:
    Store(tmp_path / "agentd.db").close()

    assert (tmp_path / "agentd.db").stat().st_mode & 0o777 == 0o600
