"""What other people's words can do to the daemon's log: nothing."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_agentd.log import log_to


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """The daemon's log file; the test's own handlers come back."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    # Not closed by the daemon's own set-up.
    root.handlers = []
    yield tmp_path / "agentd.log"
    for handler in root.handlers:
        handler.close()
    root.handlers = before
    root.setLevel(level)


def test_a_name_neither_begins_a_line_nor_acts_on_a_terminal(log: Path) -> None:
    log_to(log)

    logging.getLogger("relay_agentd").info(
        "allowed by %s", "bob\n2026 INFO all is well\x1b]0;x\x07"
    )

    (line,) = log.read_text("utf-8").splitlines()
    assert line.endswith("allowed by bob ⏎ 2026 INFO all is well<U+001B>]0;x<U+0007>")
    assert log.stat().st_mode & 0o777 == 0o600
