"""The session table: what has to be known to take a session over after a restart."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from relay_agentd.process import ProcessId
from relay_agentd.session_state import SessionState
from relay_agentd.store.database import Database
from relay_server.wire import ApprovalMode


class SessionKind(StrEnum):
    """Whose a session's processes are."""

    TERMINAL = "terminal"
    """A launcher's in a person's terminal (`run`): ended with it."""
    BACKGROUND = "background"
    """The daemon's own (`run --background`): started again when it dies."""
    JOINED = "joined"
    """A person's own (`install`, `mcp`): watched, never started or signalled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """One run of a provider, as far as it is known."""

    key: str
    state: SessionState
    provider: str
    provider_version: str
    cwd: Path
    rig: str
    approval: ApprovalMode
    """As launched."""
    label: str | None
    tags: tuple[str, ...]
    capabilities: tuple[str, ...]
    channels: tuple[str, ...]
    arguments: tuple[str, ...]
    approval_overrides: tuple[str, ...] = ()
    relay_approval: ApprovalMode | None = None
    """As the relay last said."""
    provider_session_id: str | None = None
    agent_id: str | None = None
    launcher: ProcessId | None = None
    helper: ProcessId | None = None
    helper_socket: Path | None = None
    provider_process: ProcessId | None = None
    exit_status: int | None = None
    opened_at: float
    ended_at: float | None = None
    kind: SessionKind = SessionKind.TERMINAL
    prompt: str | None = None
    """What a background session begins with."""
    transcript: Path | None = None
    """The provider's own record of the conversation."""
    restarts: int = 0
    """How often a background session was started again since it last ran well."""
    retry_at: float | None = None
    problem: str | None = None
    """Why it is in BACKOFF or FATAL, or could not be started, for people."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What a background session needs of its user's environment to be started again after a
    reboot. No secret: see `session_environment`."""

    def roles(self) -> dict[str, ProcessId]:
        """Its processes that are known, by what they are to it."""
        roles = {
            "launcher": self.launcher,
            "helper": self.helper,
            "provider": self.provider_process,
        }
        return {role: process for role, process in roles.items() if process is not None}

    @property
    def processes(self) -> tuple[ProcessId, ...]:
        """What the daemon ends with the session (the launcher ends itself)."""
        if self.kind is SessionKind.JOINED:
            return ()
        return tuple(one for one in (self.provider_process, self.helper) if one is not None)


_LISTS: Final = ("tags", "capabilities", "channels", "arguments", "approval_overrides")
_PROCESSES: Final = {
    "launcher": "launcher",
    "helper": "helper",
    "provider_process": "provider",
}


class SessionStore:
    """Reads and writes session rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, row: SessionRow) -> None:
        """A new session."""
        columns = _columns(row)
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        sql = f"INSERT INTO session ({names}) VALUES ({marks})"  # noqa: S608 - our own names
        with self._database.write():
            self._database.run(sql, list(columns.values()))

    def change(self, row: SessionRow, **changes: Any) -> SessionRow:
        """Write the changed fields; the row as it is now."""
        changed = replace(row, **changes)
        before, after = _columns(row), _columns(changed)
        differing = {name: value for name, value in after.items() if before[name] != value}
        if differing:
            names = ", ".join(f"{name} = ?" for name in differing)
            sql = f"UPDATE session SET {names} WHERE key = ?"  # noqa: S608 - our own names
            with self._database.write():
                self._database.run(sql, [*differing.values(), row.key])
        return changed

    def find(self, key: str) -> SessionRow | None:
        """One session, ended or not."""
        rows = self._database.rows("SELECT * FROM session WHERE key = ?", (key,))
        return _row(rows[0]) if rows else None

    def live(self) -> list[SessionRow]:
        """All that have not ended, oldest first."""
        sql = "SELECT * FROM session WHERE state NOT IN ('EXITED', 'FATAL') ORDER BY opened_at"
        return [_row(found) for found in self._database.rows(sql)]

    def fatal(self) -> list[SessionRow]:
        """Background sessions that were given up and that nobody has stopped, oldest first."""
        sql = """
            SELECT * FROM session WHERE state = 'FATAL' AND ended_at IS NULL ORDER BY opened_at
        """
        return [_row(found) for found in self._database.rows(sql)]

    def named(self, name: str) -> list[SessionRow]:
        """All that go by this key, agent id or label, ended or not, newest first."""
        sql = """
            SELECT * FROM session WHERE key = ? OR agent_id = ? OR lower(label) = lower(?)
            ORDER BY opened_at DESC
        """
        return [_row(found) for found in self._database.rows(sql, (name, name, name))]

    def is_empty(self) -> bool:
        """Has no session been here, as far as is remembered?"""
        return not self._database.rows("SELECT 1 FROM session LIMIT 1")

    def prune(self, before: float) -> int:
        """Forget sessions that ended before that time."""
        with self._database.write():
            return self._database.run("DELETE FROM session WHERE ended_at < ?", (before,))


def _columns(row: SessionRow) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "key": row.key,
        "state": row.state.value,
        "provider": row.provider,
        "provider_version": row.provider_version,
        "cwd": str(row.cwd),
        "rig": row.rig,
        "approval": row.approval.value,
        "label": row.label,
        "relay_approval": row.relay_approval.value if row.relay_approval else None,
        "provider_session_id": row.provider_session_id,
        "agent_id": row.agent_id,
        "helper_socket": str(row.helper_socket) if row.helper_socket else None,
        "exit_status": row.exit_status,
        "opened_at": row.opened_at,
        "ended_at": row.ended_at,
        "kind": row.kind.value,
        "prompt": row.prompt,
        "transcript": str(row.transcript) if row.transcript else None,
        "restarts": row.restarts,
        "retry_at": row.retry_at,
        "problem": row.problem,
        "environment": json.dumps(dict(row.environment)),
    }
    columns.update({name: json.dumps(getattr(row, name)) for name in _LISTS})
    for name, column in _PROCESSES.items():
        process: ProcessId | None = getattr(row, name)
        columns[f"{column}_pid"] = process.pid if process else None
        columns[f"{column}_created"] = process.created if process else None
    return columns


def _row(found: sqlite3.Row) -> SessionRow:
    processes: dict[str, Any] = {
        name: ProcessId(found[f"{column}_pid"], found[f"{column}_created"])
        for name, column in _PROCESSES.items()
        if found[f"{column}_pid"] is not None
    }
    lists: dict[str, Any] = {name: tuple(json.loads(found[name])) for name in _LISTS}
    mode, socket = found["relay_approval"], found["helper_socket"]
    transcript = found["transcript"]
    return SessionRow(
        key=found["key"],
        state=SessionState(found["state"]),
        provider=found["provider"],
        provider_version=found["provider_version"],
        cwd=Path(found["cwd"]),
        rig=found["rig"],
        approval=ApprovalMode(found["approval"]),
        label=found["label"],
        relay_approval=ApprovalMode(mode) if mode else None,
        provider_session_id=found["provider_session_id"],
        agent_id=found["agent_id"],
        helper_socket=Path(socket) if socket else None,
        exit_status=found["exit_status"],
        opened_at=found["opened_at"],
        ended_at=found["ended_at"],
        kind=SessionKind(found["kind"]),
        prompt=found["prompt"],
        transcript=Path(transcript) if transcript else None,
        restarts=found["restarts"],
        retry_at=found["retry_at"],
        problem=found["problem"],
        environment=json.loads(found["environment"]),
        **lists,
        **processes,
    )
