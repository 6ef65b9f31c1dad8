"""The two ways into a Claude Code session: its messaging socket and the doorbell file.

Stateless effects; which way to take is the adapter's to decide.
"""

import asyncio
import contextlib
import time
from enum import Enum, auto
from pathlib import Path
from typing import Final

from relay_launchers.claude.hook import BELL_FILE

_CONNECT_SECONDS: Final = 1.0
_WRITE_SECONDS: Final = 3.0


class Sent(Enum):
    """What became of a write to the messaging socket."""

    WHOLE = auto()
    """Everything was written; the socket itself never acknowledges."""
    NOTHING = auto()
    """Nobody listens: nothing was written."""
    PERHAPS = auto()
    """The connection broke while writing."""


async def send_frames(path: str, frames: bytes) -> Sent:
    """Write `frames` to the messaging socket at `path`."""
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_unix_connection(path)
    except (OSError, TimeoutError):
        return Sent.NOTHING
    try:
        async with asyncio.timeout(_WRITE_SECONDS):
            writer.write(frames)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
    except (OSError, TimeoutError):
        return Sent.PERHAPS
    finally:
        with contextlib.suppress(OSError):
            writer.close()
    return Sent.WHOLE


async def can_connect(path: str) -> bool:
    """Does somebody listen there? Nothing is written."""
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_unix_connection(path)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def ring(folder: Path) -> bool:
    """Change the bell file, on which the session's FileChanged hook asks for mail.

    False when it cannot be written. The content means nothing; rings close together count as one.
    """
    try:
        (folder / BELL_FILE).write_text(str(time.monotonic_ns()))
    except OSError:
        return False
    return True
