"""Which threads have had this session's introduction, and which approval mode they were set to.

Lines `THREAD WORD` in a file of the session's folder, the last one of a kind counts, so that
another daemon knows what the one before it did, and the file goes with the session. Runs on the
daemon's event loop.
"""

import logging
from pathlib import Path

from relay_launchers.base import ApprovalMode
from relay_launchers.codex.policy import MODES

FILE = "codex-welcomed"
_INTRODUCED = "introduced"

log = logging.getLogger(__name__)


class Welcomed:
    """The threads of one session."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._introduced: set[str] = set()
        self._modes: dict[str, ApprovalMode] = {}
        for line in self._file.read_text().splitlines() if self._file.exists() else ():
            thread_id, _, word = line.partition(" ")
            self._take(thread_id, word or _INTRODUCED)

    def __contains__(self, thread_id: str) -> bool:
        return thread_id in self._introduced

    def mode(self, thread_id: str) -> ApprovalMode | None:
        """What it was set to last; None: nothing beyond the terminal's flags."""
        return self._modes.get(thread_id)

    def add(self, thread_id: str) -> None:
        """Remember that it was introduced, also for the next daemon."""
        self._note(thread_id, _INTRODUCED)

    def set_mode(self, thread_id: str, mode: ApprovalMode) -> None:
        """Remember what it was set to."""
        self._note(thread_id, mode)

    def _note(self, thread_id: str, word: str) -> None:
        self._take(thread_id, word)
        try:
            with self._file.open("a") as file:
                file.write(f"{thread_id} {word}\n")
        except OSError as error:
            log.warning("cannot note what a codex thread was told: %s", error)

    def _take(self, thread_id: str, word: str) -> None:
        if word == _INTRODUCED:
            self._introduced.add(thread_id)
        for mode in MODES:
            if word == mode:
                self._modes[thread_id] = mode
