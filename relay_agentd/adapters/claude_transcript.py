"""Following the transcripts of a Claude Code session, from where reading stopped.

Owns nothing but offsets. File events are only hints: reading goes by offset, and a tick comes at
least every `TICK_SECONDS`, because events get lost and folders appear late.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from pathlib import Path
from typing import Final

from watchfiles import awatch

from relay_launchers.claude.evidence import Sighting, sightings

TICK_SECONDS: Final = 1.0
_STEP_MS: Final = 100


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


async def changes(folders: Sequence[Path]) -> AsyncGenerator[None]:
    """Yield whenever something changes in one of these folders, and at every tick."""
    present = [folder for folder in folders if folder.is_dir()]
    if not present:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            yield
    async for _ in awatch(
        *present,
        debounce=_STEP_MS,
        step=_STEP_MS,
        rust_timeout=int(TICK_SECONDS * 1000),
        yield_on_timeout=True,
        recursive=False,
    ):
        yield
