"""The database file: made, migrated, refused; and what a read costs."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_server.domain.routing import Card
from relay_server.errors import AlreadyTaken, StoreRefused, Unavailable
from relay_server.store import agents, answers, inbox, machines, messages, receipts
from relay_server.store.database import Database
from relay_server.store.lockfile import DatabaseLock
from relay_server.store.migrations import APPLICATION_ID, MIGRATIONS, migrate

_ROOT = Path(__file__).resolve().parents[2]
_GOLDEN = sorted((_ROOT / "tests" / "data" / "schema").glob("v*.sql"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database of a test is."""
    return tmp_path / "relay.db"


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """An empty database in memory, in autocommit mode."""
    opened = sqlite3.connect(":memory:", isolation_level=None)
    yield opened
    opened.close()


def _made(path: Path) -> Path:
    Database(path).close()
    return path


def _schema(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    sql = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
    return [(name, " ".join(text.split())) for name, text in connection.execute(sql)]


# -- migrations


def test_there_is_a_golden_file_of_every_schema() -> None:
    assert [file.stem for file in _GOLDEN] == [f"v{n + 1}" for n in range(len(MIGRATIONS))]


@pytest.mark.parametrize("golden", _GOLDEN, ids=lambda file: file.stem)
def test_a_golden_database_upgrades_and_keeps_its_rows(golden: Path, path: Path) -> None:
    old = sqlite3.connect(path)
    old.executescript(golden.read_text(encoding="utf-8"))
    old.close()

    database = Database(path)
    with database.read() as reader:
        worker = agents.get(reader, "worker")
        plain, claimed = (messages.get(reader, number) for number in (1, 2))
        read = receipts.of_message(reader, 1)
        machine = machines.get(reader, "box")
        answer = answers.get(reader, "agents", "worker", "key-1", 0)
        newest = messages.newest_id(reader)
    database.close()

    assert worker is not None
    assert (worker.label, worker.tags, worker.meta) == (
        "Wörker",
        ("web", "night"),
        {"note": "kept"},
    )
    assert plain is not None
    assert (plain.body, plain.payload) == ("Is the migration clean? ✓", '{"rows": 7}')
    assert claimed is not None
    assert claimed.lease is not None
    assert (claimed.claim_agent, claimed.thread_id) == ("worker", 1)
    assert (read["worker"].state, read["worker"].attempts) == ("read", 2)
    assert machine is not None
    assert machine.report["hostname"] == "box"
    assert answer is not None
    assert newest == 2


def test_an_upgraded_golden_database_has_the_schema_of_a_fresh_one(
    path: Path, connection: sqlite3.Connection
) -> None:
    migrate(connection)
    old = sqlite3.connect(path, isolation_level=None)
    old.executescript(_GOLDEN[0].read_text(encoding="utf-8"))
    migrate(old)
    upgraded = _schema(old)
    old.close()

    assert upgraded == _schema(connection)


def test_a_step_that_fails_leaves_version_and_schema_untouched(
    connection: sqlite3.Connection,
) -> None:
    steps = (["CREATE TABLE one (x)"], ["CREATE TABLE two (x)", "CREATE TABLE one (x)"])

    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, steps)

    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert [name for name, _ in _schema(connection)] == ["one"]


def test_two_that_start_at_once_apply_each_step_once(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from relay_server.store.database import Database;"
        " sys.stdin.readline(); Database(Path(sys.argv[1])).close(); print('ok')"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path)],
            env={**os.environ, "PYTHONPATH": str(_ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]

    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()

    assert [process.communicate(timeout=30)[0] for process in started] == ["ok\n"] * 4


# -- refusals


def test_a_newer_database_is_refused(path: Path) -> None:
    newer = sqlite3.connect(_made(path))
    newer.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    newer.close()

    with pytest.raises(StoreRefused, match="newer"):
        Database(path)


def test_garbage_is_refused_and_left_as_it_is(path: Path) -> None:
    path.write_bytes(b"not a database at all\n" * 100)
    before = path.read_bytes()

    with pytest.raises(StoreRefused, match="corrupt"):
        Database(path)

    assert path.read_bytes() == before


def test_a_damaged_page_is_found(path: Path) -> None:
    _made(path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 4096)

    with pytest.raises(StoreRefused, match="corrupt"):
        Database(path)


def test_a_truncated_database_is_refused(path: Path) -> None:
    _made(path)
    os.truncate(path, path.stat().st_size - 4096)

    with pytest.raises(StoreRefused, match="truncated"):
        Database(path)


def test_a_read_only_database_is_refused(path: Path) -> None:
    _made(path).chmod(0o400)

    with pytest.raises(StoreRefused, match="read-only"):
        Database(path)


def test_a_locked_database_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay_server.store.database._BUSY_SECONDS", 0.1)
    holder = sqlite3.connect(_made(path), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreRefused, match="locked"):
        Database(path)

    holder.close()


def test_another_programs_database_is_refused(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE notes (x)")
    other.commit()
    other.close()

    with pytest.raises(StoreRefused, match="another program"):
        Database(path)


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(StoreRefused, match="not a file"):
        Database(tmp_path)


def test_the_file_is_only_for_its_owner_and_says_whose_it_is(path: Path) -> None:
    _made(path)

    connection = sqlite3.connect(path)
    application = connection.execute("PRAGMA application_id").fetchone()
    connection.close()

    assert path.stat().st_mode & 0o777 == 0o600
    assert application == (APPLICATION_ID,)


def test_one_relay_a_file(path: Path) -> None:
    lock = DatabaseLock(path)

    with pytest.raises(AlreadyTaken, match=f"pid {os.getpid()}"):
        DatabaseLock(path)

    lock.release()
    DatabaseLock(path).release()


# -- transactions


def test_a_failed_write_changes_nothing_and_tells_nobody(path: Path) -> None:
    database = Database(path)
    told: list[str] = []

    def fail() -> None:
        with database.write() as transaction:
            transaction.run("DELETE FROM agents")
            transaction.on_commit(lambda: told.append("told"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    with database.read() as reader:
        assert reader.one("SELECT count(*) FROM agents") == (2,)
    database.close()
    assert told == []


def test_callbacks_run_after_the_outermost_commit(path: Path) -> None:
    database = Database(path)
    seen: list[int] = []

    def count() -> None:
        with database.read() as reader:
            row = reader.one("SELECT count(*) FROM counters WHERE name IN ('x', 'y')")
            seen.append(row[0] if row else -1)

    with database.write() as outer:
        with database.write() as inner:
            inner.run("INSERT INTO counters VALUES ('x', 1)")
            inner.on_commit(count)
        assert seen == []
        outer.run("INSERT INTO counters VALUES ('y', 1)")
    database.close()

    assert seen == [2]


# -- cost


def test_an_inbox_read_visits_only_ranges_of_the_index(path: Path) -> None:
    database = Database(path)
    addresses = frozenset({"a", "broadcast", "tag:x", "cap:y", "label:z"})
    card = Card("a", addresses, frozenset({"ops"}), 0, built_in=False)
    plans: list[str] = []

    class Recorder:
        """Asks SQLite how it would do it."""

        def all(self, sql: str, parameters: object) -> list[tuple[object, ...]]:
            with database.read() as reader:
                rows = reader.all(f"EXPLAIN QUERY PLAN {sql}", parameters)  # type: ignore[arg-type]
            plans.extend(str(row[3]) for row in rows)
            return []

    recorder = Recorder()
    inbox.after(recorder, card, 5, now=0, limit=50, conditions=(inbox.UNHANDED,))  # type: ignore[arg-type]
    inbox.late(recorder, card, (0, 5), now=0, limit=50)  # type: ignore[arg-type]
    database.close()

    steps = [plan for plan in plans if " m " in f"{plan} "]
    assert len(steps) == 15
    assert all(step.startswith("SEARCH m USING INDEX messages_") for step in steps)
    assert all("target=?" in step for step in steps)


def test_a_database_held_by_another_program_is_unavailable_for_the_moment(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay_server.store.database._BUSY_SECONDS", 0.1)
    database = Database(path)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    with pytest.raises(Unavailable), database.write():
        pass
    holder.execute("ROLLBACK")
    holder.close()

    with database.write() as transaction:
        assert transaction.run("INSERT INTO counters VALUES ('x', 1)") == 1
    database.close()
