"""Processes: who they are, whether they live, and how they are ended.

The only module with psutil. A process is (pid, creation time): both are
compared before every signal, on Linux through a pidfd, so that a recycled pid is never hit.
Everything async runs on the daemon's loop.
"""

import asyncio
import os
import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import psutil

from relay_agentd.clock import monotonic
from relay_launchers.base import SESSION_VARIABLE

# No pid is used again within that time.
_SAME_TIME_SECONDS = 2.0
# Above all times since the epoch: a creation time that was written down before ours were made.
_FIRST_BOOT = 1e12
_POLL_SECONDS = 1.0
_HAS_PIDFD = hasattr(os, "pidfd_open") and hasattr(signal, "pidfd_send_signal")


@lru_cache(maxsize=1)
def _boot() -> float:
    """A number of this boot of the machine, far from those of others; 0 where the kernel names no
    boot, and a creation time is a time of the clock."""
    try:
        name = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return _FIRST_BOOT + int(name[:8], 16) % 90_000 * 1e9
    except (OSError, ValueError):
        return 0.0


def _created(process: psutil.Process) -> float:
    """When it was created, by what never changes: psutil counts from the boot time, which the
    kernel moves whenever somebody sets the clock. Raises: psutil.Error."""
    boot = _boot()
    if not boot:
        return process.create_time()
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise psutil.NoSuchProcess(process.pid) from error
    # Behind the program's name, which may hold anything.
    return boot + int(stat.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class ProcessId:
    """Names one process for ever."""

    pid: int
    created: float
    """When it was created, in seconds from a point that is the same for all of this boot."""

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The process that has this pid now."""
        try:
            return cls(pid, _created(psutil.Process(pid)))
        except psutil.Error:
            return None

    @classmethod
    def parse(cls, value: Any) -> Self:
        """From the control socket's form. Raises: ValueError."""
        pid, created = (
            (value.get("pid"), value.get("created")) if isinstance(value, dict) else (0, 0)
        )
        if type(pid) is not int or pid <= 1 or not isinstance(created, int | float):
            raise ValueError("a process is {pid, created}")
        return cls(pid, float(created))

    def is_alive(self) -> bool:
        """Does it still run? A zombie does not."""
        try:
            process = psutil.Process(self.pid)
            created = process.create_time() if self.created < _FIRST_BOOT else _created(process)
            same = abs(created - self.created) < _SAME_TIME_SECONDS
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            # Not ours to look at, so not the one we started.
            return False


def environment_of(process: ProcessId) -> dict[str, str]:
    """What it was started with; nothing when it is gone or may not be looked at."""
    with suppress(psutil.Error, OSError):
        if process.is_alive():
            return dict(psutil.Process(process.pid).environ())
    return {}


def is_stopped(pid: int) -> bool:
    """Does it hang in the middle of whatever it does, by SIGSTOP or a debugger?"""
    try:
        stopped = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
        return psutil.Process(pid).status() in stopped
    except psutil.Error:
        return False


def send_signal(process: ProcessId, signum: signal.Signals) -> bool:
    """Signal exactly this process; False when it is gone."""
    descriptor = _open_pidfd(process) if _HAS_PIDFD else None
    if descriptor is None:
        return _signal_by_pid(process, signum)
    try:
        signal.pidfd_send_signal(descriptor, signum)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(descriptor)
    return True


def _signal_by_pid(process: ProcessId, signum: signal.Signals) -> bool:
    """Without a handle: the process is gone, or this system has none to give."""
    if not process.is_alive():
        return False
    try:
        os.kill(process.pid, signum)
    except (ProcessLookupError, PermissionError):
        return False
    return True


async def wait_gone(process: ProcessId) -> None:
    """Return when the process has ended."""
    descriptor = _open_pidfd(process) if _HAS_PIDFD else None
    if descriptor is None:
        while process.is_alive():
            await asyncio.sleep(_POLL_SECONDS)
        return
    loop = asyncio.get_running_loop()
    gone = loop.create_future()

    def on_readable() -> None:
        if not gone.done():
            gone.set_result(None)

    loop.add_reader(descriptor, on_readable)
    try:
        await gone
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def terminate(processes: Iterable[ProcessId], *, grace: float) -> None:
    """End all of them: TERM, up to `grace` seconds, KILL. Returns when they are gone."""
    ending = [process for process in processes if send_signal(process, signal.SIGTERM)]
    waits = [asyncio.ensure_future(wait_gone(process)) for process in ending]
    if not waits:
        return
    deadline = monotonic() + grace
    await asyncio.wait(waits, timeout=max(0.0, deadline - monotonic()))
    for process, wait in zip(ending, waits, strict=True):
        if not wait.done():
            # A stopped process only takes KILL.
            send_signal(process, signal.SIGKILL)
    # A process in an uninterruptible call dies when that returns: not worth waiting for.
    _, lasting = await asyncio.wait(waits, timeout=1.0)
    for wait in lasting:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Running:
    """A process as the process table shows it."""

    process: ProcessId
    started_at: float
    """Unix time."""
    argv: tuple[str, ...]
    program: str
    has_terminal: bool
    cwd: str | None

    @classmethod
    def of(cls, process: psutil.Process) -> Self:
        """Raises: psutil.Error."""
        with process.oneshot():
            cwd = None
            with suppress(psutil.Error):
                cwd = process.cwd()
            return cls(
                ProcessId(process.pid, _created(process)),
                process.create_time(),
                tuple(process.cmdline()),
                process.exe(),
                process.terminal() is not None,
                cwd,
            )


def describe(process: ProcessId) -> Running | None:
    """What the process table says of it; None when it is gone or not ours to look at."""
    try:
        found = Running.of(psutil.Process(process.pid))
    except psutil.Error:
        return None
    return found if process.is_alive() else None


def programs_called(name: str) -> list[Running]:
    """This user's processes that run a program of that name. Reads the whole process table."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.name() == name and process.uids().real == os.getuid():
                found.append(Running.of(process))
    return found


def listener(port: int) -> str | None:
    """Who listens on a TCP port of this machine, as far as we may know."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return None
    for connection in connections:
        if connection.status != psutil.CONN_LISTEN or not connection.laddr:
            continue
        if connection.laddr.port == port and connection.pid is not None:
            with suppress(psutil.Error):
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return None


def find_leftovers(session_key: str, programs: Sequence[str]) -> list[ProcessId]:
    """Programs of ours and of the provider that a dead session left running, and their children.

    Only those whose command line names one of `programs` (our pipe, our hook, the session's
    folder) and whose environment carries the session's key: a person's own programs may inherit
    that environment and are never touched, nor what another provider among them started. Reads
    the whole process table: call it in a thread.
    """
    left = _Leftovers(session_key, programs)
    found: dict[int, ProcessId] = {}
    own = os.getuid()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.uids().real != own:
                continue
            if left.holds(process):
                for each in (process, *process.children(recursive=True)):
                    found[each.pid] = ProcessId(each.pid, _created(each))
    return list(found.values())


@dataclass(frozen=True, slots=True)
class _Leftovers:
    """What of the process table a dead session left."""

    session_key: str
    programs: Sequence[str]

    def holds(self, process: psutil.Process) -> bool:
        """Raises: psutil.Error when it cannot be looked at, or is gone."""
        is_ours = self._is_named(process) and self._is_marked(process)
        return is_ours and not self._is_of_others(process)

    def _is_named(self, process: psutil.Process) -> bool:
        return any(program in word for word in process.cmdline() for program in self.programs)

    def _is_marked(self, process: psutil.Process) -> bool:
        return process.environ().get(SESSION_VARIABLE) == self.session_key

    def _is_of_others(self, process: psutil.Process) -> bool:
        # All the way up: a child that was only just forked still bears its parent's name.
        with suppress(psutil.Error, OSError):
            for parent in process.parents():
                if not self._is_marked(parent):
                    return False
                if not self._is_named(parent):
                    return True
        return False


def _open_pidfd(process: ProcessId) -> int | None:
    """A handle to exactly this process. Opened first and compared after, so nothing can change
    in between."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except (ProcessLookupError, PermissionError):
        return None
    except OSError:
        # No descriptors left, or an old kernel.
        return None
    if process.is_alive():
        return descriptor
    os.close(descriptor)
    return None
