"""The daemon's connection to the host of a background Claude Code session (`stream_bridge`).

Owns the socket and the reconnecting; what lines mean is the adapter's. Runs on the daemon's loop.
The host listens to one connection, the latest: what it says in its greeting is therefore the whole
truth about all that was written before.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

log = logging.getLogger(__name__)

# A question may hold a whole file.
LONGEST_LINE: Final = 64 * 1024 * 1024
_CONNECT_SECONDS: Final = 3.0
_FIRST_RETRY: Final = 0.05
_LAST_RETRY: Final = 2.0

Message = Mapping[str, Any]


class StreamLink:
    """See the module."""

    def __init__(
        self, socket: Path, *, on_message: Callable[[Message], None], on_end: Callable[[], None]
    ) -> None:
        self._socket = socket
        self._on_message = on_message
        self._on_end = on_end
        self._writer: asyncio.StreamWriter | None = None

    @property
    def is_open(self) -> bool:
        return self._writer is not None

    async def run(self) -> None:
        """Connect, read, and connect again until cancelled."""
        retry = _FIRST_RETRY
        while True:
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    reader, writer = await asyncio.open_unix_connection(
                        str(self._socket), limit=LONGEST_LINE
                    )
            except (OSError, TimeoutError):
                await asyncio.sleep(retry)
                retry = min(retry * 2, _LAST_RETRY)
                continue
            self._writer = writer
            try:
                async for message in _messages(reader):
                    retry = _FIRST_RETRY
                    self._on_message(message)
            except asyncio.CancelledError:
                # The daemon stops: the session is as reachable as before.
                writer.transport.abort()
                raise
            self.drop()
            await asyncio.sleep(retry)

    def send(self, message: Message) -> bool:
        """Write one line; False: nobody is connected."""
        if self._writer is None:
            return False
        self._writer.write(json.dumps(message).encode() + b"\n")
        return True

    def drop(self) -> None:
        """Hang up; `run` connects again, and the greeting says what arrived."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.transport.abort()
            self._on_end()


async def _messages(reader: asyncio.StreamReader) -> AsyncGenerator[Message]:
    with suppress(OSError, ValueError):
        while line := await reader.readline():
            message = _parsed(line)
            if message is not None:
                yield message


def _parsed(line: bytes) -> Message | None:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        log.warning("the host of a session wrote a line that is none: %.100r", line)
        return None
    return message if isinstance(message, dict) else None
