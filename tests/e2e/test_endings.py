"""What a session that ended tells its shell. What is left of one, `test_faults` says."""

import signal

import psutil
import pytest

from tests.e2e.stack import Stack
from tests.support.providers import CliName, find_cli

pytestmark = [pytest.mark.real_cli, pytest.mark.timeout(180)]

PROVIDERS: list[CliName] = ["codex", "claude-2.1.197", "claude-2.1.330"]


@pytest.mark.parametrize("name", PROVIDERS)
def test_the_exit_status_is_the_providers(stack: Stack, name: CliName) -> None:
    session = stack.session(name)
    program = str(find_cli(name).resolve())
    provider = next(
        each
        for each in psutil.Process(session.terminal.pid).children()
        if each.exe() == program and "app-server" not in each.cmdline()
    )

    provider.kill()

    assert session.terminal.exit_status() == 128 + signal.SIGKILL
