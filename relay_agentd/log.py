"""The daemon's log file: one line an event, rotated, private. Tokens are never given to it.

Names and reasons in it are other people's: nothing of them begins a line or acts on a terminal.
"""

import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

from relay_launchers.untrusted import visible

_LARGEST_BYTES: Final = 5 * 1024 * 1024
_KEPT_FILES: Final = 3
_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
# They log each request at INFO.
_NOISY: Final = ("httpx", "httpcore", "mcp", "websockets", "watchfiles")


class _Lines(logging.Formatter):
    """The message of an event on one line; a traceback, which is ours, follows below."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        return visible(super().formatMessage(record)).replace("\n", " ⏎ ")


def log_to(path: Path) -> logging.Handler:
    """Send the log to `path`, and to a terminal if a person looks; the file's handler."""
    path.touch(mode=0o600, exist_ok=True)
    file = RotatingFileHandler(
        path, maxBytes=_LARGEST_BYTES, backupCount=_KEPT_FILES, encoding="utf-8"
    )
    handlers: list[logging.Handler] = [file]
    if sys.stderr is not None and sys.stderr.isatty():
        handlers.append(logging.StreamHandler())
    for handler in handlers:
        handler.setFormatter(_Lines(_FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    return file
