"""Processes are (pid, creation time), and nothing but our own is ended."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from relay_agentd.process import ProcessId, find_leftovers, send_signal, terminate, wait_gone
from relay_launchers.base import SESSION_VARIABLE
from tests.agentd.harness import KEY, OTHER_KEY
from tests.support.wait import eventually

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts programs that the test's end kills."""
    started: list[subprocess.Popen[bytes]] = []

    def _start(*argv: str, **environment: str) -> "subprocess.Popen[bytes]":
        env = {**os.environ, **environment}
        started.append(subprocess.Popen(argv, env=env, stdout=subprocess.PIPE))
        return started[-1]

    yield _start
    for child in started:
        child.kill()
        child.communicate()


def _identity(child: "subprocess.Popen[bytes]") -> ProcessId:
    found = ProcessId.of(child.pid)
    assert found is not None
    return found


def test_process_with_the_same_pid_and_another_time_is_not_signalled(start: Start) -> None:
    child = start("sleep", "60")
    stranger = ProcessId(child.pid, _identity(child).created - 60)

    assert not stranger.is_alive()
    assert not send_signal(stranger, signal.SIGKILL)
    assert child.poll() is None


@pytest.mark.skipif(sys.platform != "linux", reason="others do not count from the boot")
def test_process_stays_who_it_is_when_the_clock_is_set(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = start("sleep", "60")
    before = _identity(child)
    at_boot = psutil.boot_time()
    # The kernel's own word for when it booted moves with the clock.
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: at_boot + 3600)

    assert before.is_alive()
    assert _identity(child) == before
    assert send_signal(before, signal.SIGTERM)
    assert child.wait(5) == -signal.SIGTERM


def test_process_that_an_earlier_version_wrote_down_is_known(start: Start) -> None:
    child = start("sleep", "60")
    created = psutil.Process(child.pid).create_time()

    assert ProcessId(child.pid, created).is_alive()
    assert not ProcessId(child.pid, created - 60).is_alive()


def test_signal_arrives_where_the_system_has_no_handle_to_give(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError(errno.ENOSYS, "an old kernel")

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    child = start("sleep", "60")

    assert send_signal(_identity(child), signal.SIGTERM)
    assert child.wait(5) == -signal.SIGTERM


def test_zombie_does_not_live(start: Start) -> None:
    child = start("sleep", "60")
    process = _identity(child)
    child.kill()

    assert eventually(lambda: not process.is_alive())
    assert child.returncode is None


async def _gone_after_kill(child: "subprocess.Popen[bytes]") -> None:
    waiting = asyncio.create_task(wait_gone(_identity(child)))
    await asyncio.sleep(0)
    assert not waiting.done()
    child.kill()
    async with asyncio.timeout(5):
        await waiting


def test_end_of_a_process_is_noticed(start: Start) -> None:
    asyncio.run(_gone_after_kill(start("sleep", "60")))


def test_end_of_a_process_is_noticed_without_pidfd(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay_agentd.process._HAS_PIDFD", False)

    asyncio.run(_gone_after_kill(start("sleep", "60")))


def test_process_that_ignores_term_is_killed_after_its_grace(start: Start) -> None:
    child = start(
        sys.executable,
        "-c",
        "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('ready', flush=True); time.sleep(60)",
    )
    assert child.stdout is not None
    child.stdout.readline()

    asyncio.run(terminate([_identity(child)], grace=0.2))

    assert child.wait(5) == -signal.SIGKILL


def test_process_gets_the_time_to_end_in_order(start: Start) -> None:
    child = start("sleep", "60")

    asyncio.run(terminate([_identity(child)], grace=5.0))

    assert child.wait(5) == -signal.SIGTERM


def test_only_our_own_programs_of_the_session_are_left_overs(start: Start, tmp_path: Path) -> None:
    program = tmp_path / "mcp_pipe.py"
    program.write_text("import time\ntime.sleep(60)\n")
    ours = start(sys.executable, str(program), **{SESSION_VARIABLE: KEY})
    start(sys.executable, str(program), **{SESSION_VARIABLE: OTHER_KEY})
    start("sleep", "61", **{SESSION_VARIABLE: KEY})

    def found() -> list[ProcessId]:
        return find_leftovers(KEY, ["mcp_pipe.py"])

    assert eventually(found) == [_identity(ours)]


def test_left_over_takes_along_what_it_started(start: Start) -> None:
    script = "sleep 62 & echo $!; wait  # /shell-snapshots/snapshot-bash-1.sh"
    shell = start("bash", "-c", script, **{SESSION_VARIABLE: KEY})
    assert shell.stdout is not None
    command = int(shell.stdout.readline())

    found = find_leftovers(KEY, ["/shell-snapshots/snapshot-"])

    assert [process.pid for process in found] == [shell.pid, command]
    asyncio.run(terminate(found, grace=0.5))
    assert not any(process.is_alive() for process in found)


def test_what_another_program_with_that_environment_started_is_not_left_over(start: Start) -> None:
    """A person's own provider, in a terminal that was once opened from within the session."""
    tool = "sleep 64 & echo $$; wait  # /shell-snapshots/snapshot-bash-1.sh"
    of_the_person = "import subprocess, sys; subprocess.run(['bash', '-c', sys.stdin.read()])"
    child = subprocess.Popen(
        [sys.executable, "-c", of_the_person],
        env={**os.environ, SESSION_VARIABLE: KEY},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(tool.encode())
    child.stdin.close()
    shell = psutil.Process(int(child.stdout.readline()))
    try:
        assert find_leftovers(KEY, ["/shell-snapshots/snapshot-"]) == []
    finally:
        # The shell first: it ends by itself as soon as what it waits for does.
        for each in (shell, *shell.children()):
            each.kill()
        child.wait()
        child.stdout.close()
