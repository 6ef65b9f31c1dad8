"""Starting processes, and waiting for one. Signals are `process`'s.

Two kinds. A *tied* process ends with us, even when we are killed: on Linux the kernel sends it
SIGTERM when the thread that started it ends, so start it from the main thread. A *detached* one
is a session of its own and outlives us.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
# Loaded before any fork: between fork and exec nothing may be imported or allocated at length.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
# Handlers of ours must not swallow what arrives in a child between fork and exec.
_RESET = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


class Child:
    """A process we started and have to wait for."""

    def __init__(self, popen: "subprocess.Popen[bytes]") -> None:
        self._popen = popen
        self.pid = popen.pid

    def exit_code(self) -> int | None:
        """How it ended, negative for a signal; None while it runs."""
        return self._popen.poll()

    def ask_to_end(self) -> None:
        """SIGTERM, unless it ended."""
        self._popen.terminate()

    def end(self, *, grace: float) -> None:
        """End it, and with it its group when it has one of its own: TERM, `grace` seconds, KILL."""
        self._popen.terminate()
        try:
            self._popen.wait(grace)
        except subprocess.TimeoutExpired:
            # Not waited for, so its pid (and its group, which it leads) is still its own.
            if os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, signal.SIGKILL)
            self._popen.kill()
            self._popen.wait()

    def wait_following_stops(self, stopped: Callable[[int], None]) -> int:
        """Wait for the end; `stopped` is called with the signal whenever it is stopped, and the
        process is continued when it returns. Returns the status of waitpid."""
        while True:
            _, status = os.waitpid(self.pid, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                self._popen.returncode = os.waitstatus_to_exitcode(status)
                return status
            stopped(os.WSTOPSIG(status))
            # A child that was not waited for cannot be another process by now.
            os.kill(self.pid, signal.SIGCONT)


def spawn_tied(
    argv: Sequence[str], environment: Mapping[str, str], cwd: Path, *, log: Path | None = None
) -> Child:
    """Start a process that ends when we do. With `log` it is a helper: a session of its own
    without a terminal, its output in that file. Without, it shares our terminal and our group.

    Raises: OSError when it cannot be started.
    """
    tie = _tie_to(os.getpid())
    if log is None:
        return Child(_popen(argv, environment, cwd, preexec_fn=tie))
    with log.open("ab") as output:
        return Child(
            _popen(
                argv,
                environment,
                cwd,
                preexec_fn=tie,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        )


def spawn_detached(
    argv: Sequence[str], environment: Mapping[str, str], log: Path, *, cwd: Path = Path("/")
) -> Child:
    """Start a background program that outlives us, its output in `log`. Raises: OSError."""
    with log.open("ab") as output:
        popen = _popen(
            argv,
            environment,
            cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    # Ours until we end: reaped at once should it end before us, so that no zombie stands for it.
    threading.Thread(target=popen.wait, name=f"reap {popen.pid}", daemon=True).start()
    return Child(popen)


def run_quietly(
    argv: Sequence[str], environment: Mapping[str, str], cwd: Path, *, seconds: float
) -> tuple[int, str]:
    """Run a command to its end: its exit status (124: it took too long, 127: it cannot be started)
    and what it said."""
    try:
        done = subprocess.run(
            list(argv),
            env=dict(environment),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 124, f"no end within {seconds:g} s"
    except OSError as error:
        return 127, str(error.strerror)
    return done.returncode, done.stdout.decode(errors="replace")


def _popen(
    argv: Sequence[str], environment: Mapping[str, str], cwd: Path, **how: Any
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(list(argv), env=dict(environment), cwd=cwd, **how)


def _tie_to(parent: int) -> Callable[[], None]:
    def tie() -> None:
        for signum in _RESET:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, signal.SIG_DFL)
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            # It counts from now: a parent that ended before is noticed here.
            if os.getppid() != parent:
                os._exit(1)

    return tie
