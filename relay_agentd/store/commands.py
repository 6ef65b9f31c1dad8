"""The command table: what the relay asked of this machine, and how far it got here."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from relay_agentd.store.database import Database


class CommandState(StrEnum):
    """How far a command has got on this machine."""

    HEARD = "heard"
    OURS = "ours"
    """The relay gave it to us: it is carried out here and nowhere else."""
    FOREIGN = "foreign"
    """Somebody else has it, or nobody wants it any more."""
    DONE = "done"
    FAILED = "failed"


ENDED: Final = frozenset({CommandState.DONE, CommandState.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRow:
    """One command."""

    id: int
    kind: str
    agent_id: str | None
    command: Mapping[str, Any]
    """As the relay told it."""
    state: CommandState
    session_key: str
    """Chosen when it was heard: the session a launch starts, and the mark by which we know our
    own acceptance again."""
    detail: str | None = None
    result: Any = None
    is_reported: bool = False
    received_at: float

    @property
    def input(self) -> Mapping[str, Any]:
        """What is asked for."""
        given = self.command.get("input")
        return given if isinstance(given, Mapping) else {}


class CommandStore:
    """Reads and writes command rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def hear(self, command: Mapping[str, Any], session_key: str, now: float) -> CommandRow:
        """Keep a command; the row as it is, when it is here already. A relay that was set up anew
        counts from one again: another command under a known id takes its place."""
        row = CommandRow(
            id=int(command["id"]),
            kind=str(command.get("kind")),
            agent_id=command.get("agentId"),
            command=dict(command),
            state=CommandState.HEARD,
            session_key=session_key,
            received_at=now,
        )
        known = self.find(row.id)
        if known is not None and known.command.get("createdAt") == command.get("createdAt"):
            return known
        sql = """
            INSERT OR REPLACE INTO command (id, kind, agent_id, input, status, session_key,
                                            reported, received_at)
            VALUES (?, ?, ?, ?, ?, ?, 'no', ?)
        """
        asked = json.dumps(row.command)
        values = (row.id, row.kind, row.agent_id, asked, row.state.value, session_key, now)
        with self._database.write():
            self._database.run(sql, values)
        return row

    def find(self, command_id: int) -> CommandRow | None:
        """One command."""
        rows = self._database.rows("SELECT * FROM command WHERE id = ?", (command_id,))
        return _row(rows[0]) if rows else None

    def unfinished(self) -> list[CommandRow]:
        """What is to be carried out or reported, oldest first."""
        sql = """
            SELECT * FROM command
            WHERE status IN ('heard', 'ours') OR (status IN ('done', 'failed') AND reported = 'no')
            ORDER BY id
        """
        return [_row(found) for found in self._database.rows(sql)]

    def change(self, row: CommandRow, **changes: Any) -> CommandRow:
        """Write what changed; the row as it is now."""
        changed = replace(row, **changes)
        with self._database.write():
            self._database.run(
                """
                UPDATE command SET status = ?, agent_id = ?, detail = ?, result = ?, reported = ?
                WHERE id = ?
                """,
                (
                    changed.state.value,
                    changed.agent_id,
                    changed.detail,
                    json.dumps(changed.result),
                    "yes" if changed.is_reported else "no",
                    row.id,
                ),
            )
        return changed

    def prune(self, before: float) -> None:
        """Forget what is over and was heard before that time."""
        sql = """
            DELETE FROM command WHERE received_at < ?
                AND (status = 'foreign' OR (status IN ('done', 'failed') AND reported = 'yes'))
        """
        with self._database.write():
            self._database.run(sql, (before,))


def _row(found: sqlite3.Row) -> CommandRow:
    return CommandRow(
        id=found["id"],
        kind=found["kind"],
        agent_id=found["agent_id"],
        command=json.loads(found["input"]),
        state=CommandState(found["status"]),
        session_key=found["session_key"],
        detail=found["detail"],
        result=json.loads(found["result"]) if found["result"] else None,
        is_reported=found["reported"] == "yes",
        received_at=found["received_at"],
    )
