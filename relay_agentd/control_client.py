"""The other end of the control socket: what the command line and the launcher speak through.

Blocking, standard library only (it must import in a moment). `ControlClient.call` uses one
connection a request; a launcher keeps a `ControlConnection` open for as long as it lives, because
its end tells the daemon that the launcher died, and the other way round.
"""

import json
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from relay_agentd.errors import ControlRefused, DaemonUnreachable

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 10.0


class ControlConnection:
    """One open connection; requests are answered in order. Not for use by several threads."""

    def __init__(self, path: Path, *, timeout: float = CONNECT_SECONDS) -> None:
        """Connect. Raises: DaemonUnreachable."""
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise DaemonUnreachable(f"the daemon is not running{_reason(error)}") from error
        self._lines = self._socket.makefile("rb")

    def call(self, op: str, *, timeout: float = ANSWER_SECONDS, **fields: Any) -> dict[str, Any]:
        """Send one request and return its answer without ``ok``.

        Raises: DaemonUnreachable, ControlRefused.
        """
        try:
            self._socket.settimeout(timeout)
            self._socket.sendall(json.dumps({"op": op, **fields}).encode() + b"\n")
            line = self._lines.readline()
        except OSError as error:
            raise DaemonUnreachable(f"the daemon did not answer {op!r}: {error}") from error
        return _result(line, op)

    def fileno(self) -> int:
        """Readable when the daemon has gone (or answers): for select."""
        return self._socket.fileno()

    def is_open(self) -> bool:
        """Does the daemon still hold its end? Only between requests."""
        # A socket with a timeout would wait for it, whatever the flags say.
        self._socket.setblocking(False)
        try:
            return self._socket.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class ControlClient:
    """Asks the daemon behind one control socket."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def connect(self) -> ControlConnection:
        """A connection to keep. Raises: DaemonUnreachable."""
        return ControlConnection(self.path)

    def call(self, op: str, *, timeout: float = ANSWER_SECONDS, **fields: Any) -> dict[str, Any]:
        """One request over a connection of its own. Raises: DaemonUnreachable, ControlRefused."""
        with self.connect() as connection:
            return connection.call(op, timeout=timeout, **fields)


def _reason(error: OSError) -> str:
    """Nothing for what "not running" says already."""
    usual = isinstance(error, FileNotFoundError | ConnectionRefusedError)
    return "" if usual else f": {error.strerror or error}"


def _result(line: bytes, op: str) -> dict[str, Any]:
    if not line.endswith(b"\n"):
        raise DaemonUnreachable(f"the daemon hung up before it answered {op!r}")
    try:
        answer = json.loads(line)
        ok = answer.pop("ok")
        error = answer.get("error") or {}
    except (ValueError, TypeError, AttributeError, KeyError) as problem:
        raise ControlRefused(
            "bad_answer", f"no proper answer to {op!r}: {line[:200]!r}"
        ) from problem
    if ok is not True:
        raise ControlRefused(str(error.get("code", "error")), str(error.get("detail", answer)))
    return dict(answer)
