"""The host of a background Claude Code session: ``stream_bridge.py SOCKET ID COMMAND...``.

Runs under ``python -I -S``, detached, one a session; standard library only, and of ours only
`stream_state` and `stream_keeper`. It owns the pipes of one headless Claude Code (stream-json) and
a unix socket for the daemon's adapter. Daemons come and go; the session does not notice.

It keeps what is true, not what was said, so everything is bounded and nothing needs a receipt:
the questions that wait for an answer, the user messages it took, those that Claude Code has
shown in its conversation, whether a turn runs. Whoever connects is told all of that, then what
changes. While nobody listens, or a daemon hangs, Claude Code is read on all the same.

To the daemon, one JSON object a line:

    {"type": "bridge_hello", "pid", "conversation": ID, "turn": "busy"|"idle", "taken": [UUID],
     "shown": [UUID], "questions": [REQUEST_ID]}, and then these questions
    {"type": "bridge_taken", "uuid"}   the message will be written to Claude Code, once
    {"type": "bridge_shown", "uuid"}   it is in the conversation
    {"type": "bridge_turn", "turn", "problem": TEXT|null}
    and Claude Code's own control_request and control_cancel_request

From the daemon: what Claude Code takes on its stdin. A user message whose uuid was taken before,
and an answer to a question that does not wait any more, go no further.

The processes are the keeper's (see there). SIGTERM ends the session in order; when Claude Code
ends, so does this, with its exit status, the end of what it complained of on stderr.
"""

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

if __name__ == "__main__":
    # `-I` leaves our place out of the path; at its end nothing of the library is hidden.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120 - pathlib costs time and memory

from relay_agentd.stream_keeper import Keeper
from relay_agentd.stream_state import OPEN_QUESTIONS, Lines, Session

CHUNK: Final = 65536
# Nothing a daemon sends comes near it.
LONGEST_FROM_DAEMON: Final = 8 * 1024 * 1024
# Claude Code prints what its tools answer, images included. What is longer is passed over.
LONGEST_FROM_CLAUDE: Final = 64 * 1024 * 1024
# So much may wait for Claude Code to read it; then the daemon has to wait.
STDIN_BACKLOG: Final = 1024 * 1024
# A daemon that leaves so much unread hangs: it is let go and told anew when it comes back.
DAEMON_BACKLOG: Final = 8 * 1024 * 1024
LOG_BYTES: Final = 256 * 1024
TAIL_BYTES: Final = 2000
FAREWELL_SECONDS: Final = 0.5


class Log:
    """The end of what a session complained of: at most two files of LOG_BYTES."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._size = 0
        self.tail = b""

    def write(self, data: bytes) -> None:
        self.tail = (self.tail + data)[-TAIL_BYTES:]
        try:
            if self._size > LOG_BYTES:
                os.replace(self._path, self._path + ".1")  # noqa: PTH105
                self._size = 0
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            file = os.open(self._path, flags, 0o600)
            try:
                self._size += os.write(file, data)
            finally:
                os.close(file)
        except OSError:
            # The folder may have gone; the tail is what counts.
            pass


class Bridge:
    """The loop: descriptors, buffers and the one daemon that is listened to."""

    def __init__(
        self, listener: socket.socket, keeper: Keeper, log: Log, conversation: str
    ) -> None:
        self._listener = listener
        self._keeper = keeper
        self._log = log
        self._session = Session(keeper.child, conversation)
        self._to_claude = bytearray()
        self._to_daemon = bytearray()
        self._daemon: socket.socket | None = None
        self._daemon_lines = Lines(LONGEST_FROM_DAEMON)
        self._claude_lines = Lines(LONGEST_FROM_CLAUDE)
        self._outputs: dict[int, Callable[[bytes], None]] = {
            keeper.stdout: self._claude_said,
            keeper.stderr: log.write,
        }
        self._stdin: int | None = keeper.stdin

    def run(self) -> int:
        """Until Claude Code has ended; its exit status."""
        while (status := self._keeper.status()) is None:
            self._turn_once(None)
        # What it said last is in the pipes still.
        while self._outputs and self._turn_once(0.0):
            pass
        deadline = time.monotonic() + FAREWELL_SECONDS
        while self._to_daemon and self._daemon and time.monotonic() < deadline:
            self._turn_once(FAREWELL_SECONDS)
        return int(status)

    def _turn_once(self, timeout: float | None) -> bool:
        """Wait for something to do and do it; False: there was nothing."""
        readers: list[Any] = [self._listener, self._keeper.wake, *self._outputs]
        writers: list[Any] = []
        if self._daemon is not None and len(self._to_claude) <= STDIN_BACKLOG:
            readers.append(self._daemon)
        if self._daemon is not None and self._to_daemon:
            writers.append(self._daemon)
        if self._stdin is not None and self._to_claude:
            writers.append(self._stdin)
        readable, writable, _ = select.select(readers, writers, [], timeout)
        for each in readable:
            self._read(each)
        for each in writable:
            if each == self._stdin:
                self._write_claude()
            elif each is self._daemon:
                self._write_daemon()
        return bool(readable or writable)

    def _read(self, source: Any) -> None:
        if source is self._listener:
            self._accept()
        elif source is self._daemon:
            self._read_daemon()
        elif source == self._keeper.wake:
            self._keeper.woken()
        elif source in self._outputs:
            self._read_claude(source)

    # --- the daemon ---

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        # The one who came last is the daemon; its predecessor is dead or hangs.
        self._drop_daemon()
        connection.setblocking(False)
        self._daemon = connection
        self._tell(self._session.hello())

    def _read_daemon(self) -> None:
        assert self._daemon is not None
        try:
            data = self._daemon.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        for line in self._daemon_lines.feed(data):
            told, written = self._session.from_daemon(line)
            self._to_claude += written
            self._tell(told)
        if not data or self._daemon_lines.has_overrun:
            self._drop_daemon()

    def _tell(self, lines: list[bytes]) -> None:
        if self._daemon is None:
            return
        for line in lines:
            self._to_daemon += line
        if len(self._to_daemon) > DAEMON_BACKLOG + OPEN_QUESTIONS:
            self._drop_daemon()
        elif lines:
            self._write_daemon()

    def _write_daemon(self) -> None:
        assert self._daemon is not None
        try:
            sent = self._daemon.send(self._to_daemon)
        except BlockingIOError:
            return
        except OSError:
            self._drop_daemon()
            return
        del self._to_daemon[:sent]

    def _drop_daemon(self) -> None:
        if self._daemon is not None:
            self._daemon.close()
        self._daemon = None
        self._to_daemon.clear()
        # Half a line of a daemon that died is no line.
        self._daemon_lines = Lines(LONGEST_FROM_DAEMON)

    # --- Claude Code ---

    def _read_claude(self, pipe: int) -> None:
        try:
            data = os.read(pipe, CHUNK)
        except BlockingIOError:
            return
        if data:
            self._outputs[pipe](data)
        else:
            del self._outputs[pipe]

    def _claude_said(self, data: bytes) -> None:
        for line in self._claude_lines.feed(data):
            if not line.lstrip().startswith(b"{"):
                # Why it does not start is said here, in plain words.
                self._log.write(line + b"\n")
                continue
            told, answered = self._session.from_claude(line)
            self._to_claude += answered
            self._tell(told)

    def _write_claude(self) -> None:
        assert self._stdin is not None
        try:
            written = os.write(self._stdin, self._to_claude[:CHUNK])
        except BlockingIOError:
            return
        except OSError:
            # It reads no more, so it ends; what was not read is not in its transcript.
            self._stdin = None
            return
        del self._to_claude[:written]


def listen(path: str) -> socket.socket:
    """The session's socket. What an earlier host of the session left is replaced."""
    with suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(mask)
    listener.listen(8)
    listener.setblocking(False)
    return listener


def main(arguments: list[str]) -> int:
    path, conversation, *command = arguments
    for signum in (signal.SIGHUP, signal.SIGPIPE):
        signal.signal(signum, signal.SIG_IGN)
    keeper = Keeper(command)
    try:
        log = Log(path + ".log")
        status = Bridge(listen(path), keeper, log, conversation).run()
        with suppress(OSError):  # the folder may have gone
            os.unlink(path)  # noqa: PTH108
    finally:
        keeper.close()
    sys.stderr.write(log.tail.decode("utf-8", "replace"))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
