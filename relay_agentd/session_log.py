"""A session as people read it: the end of the provider's own record of the conversation.

Reads files, writes none; a record may be written to at the same time, and may be cut anywhere.
Used by the command line, and by the daemon in a thread for the relay's `logs`.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from relay_launchers.base import BackgroundProvider, LogEntry
from relay_launchers.untrusted import visible

HEAD_WIDTH: Final = 15
"""Of the time and the name in front of what `render` shows."""
_FIRST_BYTES: Final = 256 * 1024
_MOST_BYTES: Final = 64 * 1024 * 1024
# Of a tool's output: who wants all of it opens the record itself.
_LONGEST_RESULT: Final = 12
_NAMES: Final = {"user": "user", "agent": "agent", "tool": "tool", "result": "", "notice": "!"}


def read_tail(path: Path, provider: BackgroundProvider, count: int) -> list[LogEntry]:
    """The last `count` entries. Raises: OSError."""
    wanted = _FIRST_BYTES
    with path.open("rb") as file:
        size = file.seek(0, 2)
        while True:
            file.seek(max(0, size - wanted))
            text = file.read(min(wanted, size)).decode(errors="replace")
            # The first line may be half of one: the provider finds no entry in it.
            entries = provider.read_log(text.split("\n"))
            if len(entries) >= count or wanted >= min(size, _MOST_BYTES):
                return entries[-count:]
            wanted *= 4


class Follower:
    """What is added to a record from now on."""

    def __init__(self, path: Path, provider: BackgroundProvider) -> None:
        self._path = path
        self._provider = provider
        self._at = path.stat().st_size if path.exists() else 0
        self._rest = b""

    def read(self) -> list[LogEntry]:
        """The entries since the last time; none while there is no record."""
        try:
            with self._path.open("rb") as file:
                if file.seek(0, 2) < self._at:
                    self._at, self._rest = 0, b""  # another one in its place
                file.seek(self._at)
                added = file.read()
        except FileNotFoundError:
            return []
        self._at += len(added)
        *lines, self._rest = (self._rest + added).split(b"\n")
        return self._provider.read_log([line.decode(errors="replace") for line in lines])


def render(entry: LogEntry) -> list[str]:
    """An entry as lines for a terminal."""
    return list(_render(entry))


def _render(entry: LogEntry) -> Iterator[str]:
    lines = visible(entry.text).rstrip().split("\n")
    if entry.kind == "result" and len(lines) > _LONGEST_RESULT:
        left_out = len(lines) - _LONGEST_RESULT
        lines = [*lines[:_LONGEST_RESULT], f"... {left_out} more lines"]
    head = f"{_clock(entry.at)} {_NAMES[entry.kind]:5} "
    yield head + lines[0]
    for line in lines[1:]:
        yield " " * HEAD_WIDTH + line


def _clock(at: str | None) -> str:
    try:
        return datetime.fromisoformat(at or "").astimezone().strftime("%H:%M:%S")
    except ValueError:
        return " " * 8
