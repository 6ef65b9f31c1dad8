"""The daemon's log file: one line an event, rotated, private. Tokens are never given to it."""

import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

_LARGEST_BYTES: Final = 5 * 1024 * 1024
_KEPT_FILES: Final = 3
_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
# They log each request at INFO.
_NOISY: Final = ("httpx", "httpcore", "mcp", "websockets", "watchfiles")


def log_to(path: Path) -> logging.Handler:
    """Send the log to `path`, and to a terminal if a person looks; the file's handler."""
    path.touch(mode=0o600, exist_ok=True)
    file = RotatingFileHandler(
        path, maxBytes=_LARGEST_BYTES, backupCount=_KEPT_FILES, encoding="utf-8"
    )
    handlers: list[logging.Handler] = [file]
    if sys.stderr is not None and sys.stderr.isatty():
        handlers.append(logging.StreamHandler())
    logging.basicConfig(level=logging.INFO, format=_FORMAT, handlers=handlers, force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    return file
