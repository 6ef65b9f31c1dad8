"""Finding and ending what a test started, by a marker in the environment."""

from contextlib import suppress

import psutil

from tests.support.wait import eventually


def marked(marker: str, value: str) -> list[psutil.Process]:
    """The living processes with this variable in their environment; zombies do not count."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(marker) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def describe(processes: list[psutil.Process]) -> str:
    """One line a process, for a failing test."""
    lines = []
    for process in processes:
        with suppress(psutil.Error):
            lines.append(f"{process.pid} {' '.join(process.cmdline())[:160]}")
    return "\n".join(lines)


def expect_none(marker: str, value: str, within: float = 5.0) -> None:
    """Waits until no marked process is left.

    Raises:
        AssertionError: some are; it lists them.
    """
    eventually(
        lambda: not marked(marker, value),
        within,
        message=lambda: f"still running:\n{describe(marked(marker, value))}",
    )


def end_all(marker: str, value: str) -> None:
    """Kills what carries the marker: the end of a test that failed before its own clean-up."""
    for process in marked(marker, value):
        with suppress(psutil.Error):
            process.kill()
