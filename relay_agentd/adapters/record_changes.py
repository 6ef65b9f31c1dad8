"""When to look at a provider's record again. File events are only hints: a tick comes as well,
because events get lost and folders appear late. The only module that watches files; owns nothing.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Final

from watchfiles import awatch

_STEP_MS: Final = 100


async def changes(folders: Sequence[Path], *, tick: float) -> AsyncGenerator[None]:
    """Yield whenever something changes in one of these folders, and every `tick` seconds."""
    present = [folder for folder in folders if folder.is_dir()]
    if not present:
        while True:
            await asyncio.sleep(tick)
            yield
    async for _ in awatch(
        *present,
        debounce=_STEP_MS,
        step=_STEP_MS,
        rust_timeout=int(tick * 1000),
        yield_on_timeout=True,
        recursive=False,
    ):
        yield
