"""Which conversation a folder's next Codex session goes on with (`--thread auto`).

Reads Codex's records and asks its locks, writes nothing. A record names its folder in its first
line; a conversation that somebody writes now is locked by that process.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from relay_launchers.base import ArgumentsRefused

THREAD_VARIABLE: Final = "AGENT_RELAY_CODEX_THREAD"
THREAD_MODES: Final = ("start", "auto")
# Looking further back costs more than a new conversation.
_LOOKED_AT: Final = 500


def with_thread(
    arguments: Sequence[str], environment: Mapping[str, str], cwd: Path
) -> tuple[str, ...]:
    """The arguments of a session that names no conversation itself. Raises ArgumentsRefused."""
    mode = environment.get(THREAD_VARIABLE) or "start"
    if mode not in THREAD_MODES:
        raise ArgumentsRefused(f"{THREAD_VARIABLE}: {mode!r}: expected start or auto")
    conversation = latest_conversation(environment, cwd) if mode == "auto" else None
    return ("resume", conversation, *arguments) if conversation else tuple(arguments)


def latest_conversation(environment: Mapping[str, str], cwd: Path) -> str | None:
    """The folder's latest conversation that nobody else is writing; None: there is none."""
    home = Path(environment.get("HOME") or "~").expanduser()
    codex = Path(environment.get("CODEX_HOME") or home / ".codex")
    for record in _records(codex / "sessions"):
        about = _about(record)
        conversation = str(about.get("id") or "")
        is_persons = about.get("source") in ("cli", "vscode") and about.get("thread_source") in (
            None,
            "user",
        )
        if is_persons and conversation and about.get("cwd") == str(cwd):
            lock = codex / "thread-writer-locks" / f"{conversation}.lock"
            if not _is_held(lock):
                return conversation
    return None


def _records(sessions: Path) -> Iterator[Path]:
    """Newest first, by the last time something was written."""
    found = [(path.stat().st_mtime, path) for path in sessions.glob("*/*/*/rollout-*.jsonl")]
    for _, path in sorted(found, reverse=True)[:_LOOKED_AT]:
        yield path


def _about(record: Path) -> dict[str, Any]:
    try:
        with record.open(encoding="utf-8", errors="replace") as file:
            about = json.loads(file.readline())["payload"]
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    return about if isinstance(about, dict) else {}


def _is_held(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
