"""Which threads have had this session's policy and introduction.

One line a thread in a file of the session's folder, so that another daemon knows what the one
before it did, and the file goes with the session. Runs on the daemon's event loop.
"""

import logging
from pathlib import Path

FILE = "codex-welcomed"

log = logging.getLogger(__name__)


class Welcomed:
    """The threads of one session."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._threads = set(self._file.read_text().split()) if self._file.exists() else set()

    def __contains__(self, thread_id: str) -> bool:
        return thread_id in self._threads

    def add(self, thread_id: str) -> None:
        """Remember it, also for the next daemon."""
        self._threads.add(thread_id)
        try:
            with self._file.open("a") as file:
                file.write(f"{thread_id}\n")
        except OSError as error:
            log.warning("cannot note that a codex thread was introduced: %s", error)
