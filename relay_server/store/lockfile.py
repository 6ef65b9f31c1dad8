"""One relay process a database file: an advisory lock that dies with its holder.

The file beside the database stays; only the lock on it counts. Its text names the holder.
"""

import json
import os
import sys
from pathlib import Path
from typing import IO

from relay_server.errors import AlreadyTaken, StoreRefused
from relay_server.host import process_name

if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: IO[str]) -> None:
        # A byte far behind the text, so that others may still read who holds it.
        handle.seek(1 << 20)
        msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(handle: IO[str]) -> None:
        fcntl.flock(handle.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


class DatabaseLock:
    """Held from construction to `release`."""

    def __init__(self, database: Path) -> None:
        """Raises: AlreadyTaken naming the holder, StoreRefused."""
        # A link to a database is no second database.
        place = database.resolve()
        self._path = place.with_name(place.name + ".lock")
        try:
            # The very first start: the user's data folder may not be there yet.
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreRefused(f"the lock {self._path} cannot be made: {error.strerror}") from None
        self._handle = os.fdopen(descriptor, "r+")
        try:
            _try_lock(self._handle)
        except OSError:
            holder = self._holder()
            self._handle.close()
            raise AlreadyTaken(f"the database {database} is in use by {holder}") from None
        self._handle.seek(0)
        self._handle.truncate()
        json.dump({"pid": os.getpid()}, self._handle)
        self._handle.flush()

    def _holder(self) -> str:
        try:
            self._handle.seek(0)
            return f"another relay: {process_name(int(json.load(self._handle)['pid']))}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another relay server"

    def release(self) -> None:
        """Let the next one in."""
        self._handle.close()
