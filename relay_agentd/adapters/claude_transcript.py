"""Following the transcripts of a Claude Code session, from where reading stopped.

Owns nothing but offsets: when to look again is `record_changes`'.
"""

from collections.abc import Iterable
from pathlib import Path

from relay_launchers.claude.evidence import Sighting, sightings


class TranscriptReader:
    """Reads what was appended since the last time, whole lines only."""

    def __init__(self) -> None:
        self._offsets: dict[str, int] = {}

    def skip_to_end(self, paths: Iterable[str]) -> None:
        """Begin behind what is there now."""
        for path in paths:
            try:
                self._offsets[path] = Path(path).stat().st_size
            except OSError:
                self._offsets[path] = 0

    def read_new(self, paths: Iterable[str]) -> bytes:
        """The whole lines added to these files since the last call."""
        return b"".join(self._read_one(path) for path in paths)

    def _read_one(self, path: str) -> bytes:
        start = self._offsets.get(path, 0)
        try:
            with Path(path).open("rb") as file:
                file.seek(start)
                added = file.read()
        except OSError:
            return b""
        whole = added[: added.rfind(b"\n") + 1]
        self._offsets[path] = start + len(whole)
        return whole


def last_sighting(transcripts: Iterable[str], text: str) -> Sighting | None:
    """How far `text` got, by all of these transcripts; once in the context, always in it."""
    found: Sighting | None = None
    for path in transcripts:
        try:
            content = Path(path).read_bytes()
        except OSError:
            continue
        for sighting in sightings(content, text):
            if sighting is Sighting.IN_CONTEXT:
                return sighting
            found = sighting
    return found
