"""The processes of a background Claude Code session: started, watched and ended to the last one.

Used by `stream_bridge`. Claude Code gives its tools' commands sessions of their own and leaves
them behind when it dies, so a process stands between it and the bridge: the *keeper*, a fork of
the bridge that adopts what loses its parent (Linux: child subreaper). It ends Claude Code when
it is told to or when the bridge is gone, and then whatever is left below it. Should the keeper be
killed, Claude Code is sent SIGTERM by the kernel and the bridge, an adopter too, does the rest. So
whichever single process is killed, nothing of the session goes on. Elsewhere than on Linux, what
lost its parent is left to the daemon, which sweeps by the session's mark.

Every process signalled here is a child that was not waited for, so its pid is still its own.
Standard library only, nothing of ours.
"""

import ctypes
import os
import select
import signal
import sys
import time
from contextlib import suppress
from typing import Final

GRACE_SECONDS: Final = 1.5
"""What Claude Code gets to end in order; it takes 0.2 s. With what follows it is less than the
daemon gives the bridge."""
ORPHAN_SECONDS: Final = 0.3
LONGEST_SWEEP: Final = 3.0
"""A process in an uninterruptible call ends when that returns: not worth waiting for."""
NOT_STARTED: Final = 127
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
# Loaded before any fork.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Keeper:
    """The bridge's side. The ends of Claude Code's pipes are here, none of them blocking."""

    def __init__(self, command: list[str]) -> None:
        """Start the keeper and Claude Code in it."""
        self.wake = _wake_on(signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)
        _adopt()
        stdin, self.stdin = os.pipe()
        self.stdout, stdout = os.pipe()
        self.stderr, stderr = os.pipe()
        # Nothing is ever written to it: its end is the bridge's.
        life, self._life = os.pipe()
        told, tell = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            for ours in (self.stdin, self.stdout, self.stderr, self._life, told):
                os.close(ours)
            _keep(command, (stdin, stdout, stderr), life, tell)
        for theirs in (stdin, stdout, stderr, life, tell):
            os.close(theirs)
        for end in (self.stdin, self.stdout, self.stderr):
            os.set_blocking(end, False)
        self._status: int | None = None
        self.child = int(os.read(told, 16) or b"0")
        """Claude Code's pid."""
        os.close(told)

    def woken(self) -> None:
        """A signal came: to end, or because something has ended."""
        if {signal.SIGTERM, signal.SIGINT} & set(_signals(self.wake)):
            self.end()

    def end(self) -> None:
        """End Claude Code and all that it started."""
        if self._status is None:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)

    def status(self) -> int | None:
        """Claude Code's exit status once it and all that it started have ended."""
        while self._status is None:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._status = NOT_STARTED
                break
            if pid == 0:
                return None
            if pid == self._pid:
                self._status = _exit_status(status)
                sweep()
        return self._status

    def close(self) -> None:
        """Leave nothing, however the bridge ends."""
        self.end()
        os.close(self._life)


def sweep() -> None:
    """End all children of this process and, as they lose their parents, theirs: TERM, then KILL.

    Returns when there is none, and before with those that cannot be ended.
    """
    began, asked = time.monotonic(), set[int]()
    while _reap() and (passed := time.monotonic() - began) < LONGEST_SWEEP:
        for child in _children():
            # What changed its user is not ours to end.
            with suppress(PermissionError):
                if passed >= ORPHAN_SECONDS:
                    os.kill(child, signal.SIGKILL)
                elif child not in asked:
                    asked.add(child)
                    os.kill(child, signal.SIGTERM)
        time.sleep(0.02)


def _keep(command: list[str], pipes: tuple[int, int, int], life: int, tell: int) -> None:
    """The keeper: never returns."""
    status = NOT_STARTED
    try:
        # Not in the bridge's group, which may be killed as a whole.
        os.setsid()
        wake = _wake_on(signal.SIGCHLD, signal.SIGTERM)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _adopt()
        child = _start(command, pipes)
        os.write(tell, b"%d" % child)
        for inherited in (*pipes, tell):
            os.close(inherited)
        status = _watch(child, life, wake)
        with suppress(ProcessLookupError, PermissionError):
            # Where nobody adopts, its group is what can be reached.
            os.killpg(child, signal.SIGKILL)
    except BaseException:  # noqa: BLE001 - a fork must never return into the bridge's own code
        sys.excepthook(*sys.exc_info())
    finally:
        sweep()
        os._exit(status)


def _watch(child: int, life: int, wake: int) -> int:
    """Wait for the end of Claude Code, and bring it about when it is time."""
    deadline: float | None = None
    watched = [life, wake]
    while True:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == child:
                return _exit_status(status)
            if pid == 0:
                break
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        readable, _, _ = select.select(watched, [], [], timeout)
        told_to_end = wake in readable and signal.SIGTERM in _signals(wake)
        if life in readable:
            watched.remove(life)
            told_to_end = True
        if told_to_end and deadline is None:
            os.kill(child, signal.SIGTERM)
            deadline = time.monotonic() + GRACE_SECONDS
        elif deadline is not None and time.monotonic() >= deadline:
            # A stopped process only takes KILL.
            os.kill(child, signal.SIGKILL)
            deadline += GRACE_SECONDS


def _start(command: list[str], pipes: tuple[int, int, int]) -> int:
    """Claude Code's pid. What cannot be started ends with NOT_STARTED and a word on stderr."""
    parent = os.getpid()
    child = os.fork()
    if child != 0:
        return child
    try:
        signal.set_wakeup_fd(-1)
        for signum in (
            signal.SIGCHLD,
            signal.SIGTERM,
            signal.SIGINT,
            signal.SIGHUP,
            signal.SIGPIPE,
        ):
            signal.signal(signum, signal.SIG_DFL)
        os.setpgid(0, 0)
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        for target, pipe in enumerate(pipes):
            os.dup2(pipe, target)
        # It counts from now: a parent that ended before is noticed here.
        if os.getppid() == parent:
            os.execvpe(command[0], command, os.environ)  # noqa: S606 - argv made by our own plan
    except OSError as problem:
        os.write(2, f"{command[0]} cannot be started: {problem.strerror}\n".encode())
    finally:
        os._exit(NOT_STARTED)


def _adopt() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _reap() -> bool:
    """Wait for what has ended; False: there is no child."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _children() -> list[int]:
    """Our children that run or were not waited for."""
    own, found = os.getpid(), []
    for name in os.listdir("/proc") if sys.platform == "linux" else ():  # noqa: PTH208
        if not name.isdecimal():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == own:
            found.append(int(name))
    return found


def _wake_on(*signums: signal.Signals) -> int:
    """A descriptor that can be read when one of these came; `_signals` says which."""
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for signum in signums:
        signal.signal(signum, lambda *_: None)
    return readable


def _signals(wake: int) -> bytes:
    try:
        return os.read(wake, 4096)
    except BlockingIOError:
        return b""


def _exit_status(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code
