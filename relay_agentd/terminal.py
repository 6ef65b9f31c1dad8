"""The person's terminal while a provider owns it.

The launcher and the provider share the terminal's foreground process group, so the keyboard's
signals reach the provider directly. The launcher only stays out of the way (`KeyboardSignals`),
stops when the provider stops, so that the shell sees its job stopped, and puts the terminal back
when the provider died without the chance to do so (`TerminalModes`). Must run on the main thread.
"""

import os
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, Self

# From the keyboard or about the keyboard: meant for the provider, which is in the same group.
_KEYBOARD = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
# Meant for whoever they were sent to: the launcher, which stands for the provider.
_FORWARDED = (signal.SIGTERM, signal.SIGHUP)

# What a full-screen program may have switched on: alternate screen, hidden cursor, mouse reports,
# focus reports, bracketed paste, extended keys, colours. The cursor is saved first (ESC 7) because
# leaving the alternate screen restores a saved position even where it was never entered.
_RESET = (
    "\x1b7\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l"
    "\x1b[?1004l\x1b[?2004l\x1b[<u\x1b[>4;0m\x1b[0m"
)


class TerminalModes:
    """The modes of the controlling terminal as they were before the provider started."""

    def __init__(self) -> None:
        self._saved: list[Any] | None = None
        self._terminal: int | None = None
        for stream in (sys.stdin, sys.stdout, sys.stderr):
            # A stream may be closed (None), without a descriptor, or no terminal.
            with suppress(OSError, ValueError, AttributeError, termios.error):
                self._saved = termios.tcgetattr(stream.fileno())
                self._terminal = stream.fileno()
                return

    def restore(self) -> None:
        """Put the modes back and undo what a full-screen program leaves when it is killed."""
        if self._saved is None or self._terminal is None:
            return
        # From a background group the change would stop us (SIGTTOU); blocked, it just happens.
        # A terminal that is gone has nothing to restore.
        with _blocked(signal.SIGTTOU), suppress(OSError, termios.error):
            termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._saved)
            if os.isatty(1):
                os.write(1, _RESET.encode("ascii"))


class KeyboardSignals:
    """While entered: the keyboard's signals pass the launcher by; TERM and HUP are forwarded.

    Handlers, not SIG_IGN: an ignored signal would be inherited by the provider, a handler is not.
    A signal the launcher was started with as ignored (nohup) stays ignored, for both.
    """

    def __init__(self, forward: Callable[[signal.Signals], None]) -> None:
        self._forward = forward
        self._forwarded: set[int] = set()
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for signum in _KEYBOARD:
            self._install(signum, _pass_by)
        for signum in _FORWARDED:
            self._install(signum, self._on_forwarded)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)

    def _install(
        self, signum: signal.Signals, handler: Callable[[int, FrameType | None], None]
    ) -> None:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            self._previous[signum] = signal.signal(signum, handler)

    def _on_forwarded(self, signum: int, _frame: FrameType | None) -> None:
        # Once each: a terminal that closes tells the provider too, and a second HUP or TERM makes
        # some programs give up their orderly end.
        if signum not in self._forwarded:
            self._forwarded.add(signum)
            self._forward(signal.Signals(signum))


def stop_like(signum: int) -> None:
    """Stop this process as the provider was stopped; returns when the shell continues it."""
    if signum == signal.SIGSTOP:
        os.kill(os.getpid(), signal.SIGSTOP)
        return
    previous = signal.signal(signum, signal.SIG_DFL)
    try:
        os.kill(os.getpid(), signum)
    finally:
        signal.signal(signum, previous)


def exit_status(wait_status: int) -> int:
    """What a shell would report: the exit status, or 128 and the signal's number."""
    code = os.waitstatus_to_exitcode(wait_status)
    return 128 - code if code < 0 else code


def _pass_by(_signum: int, _frame: FrameType | None) -> None:
    """Not ours: it reached the provider by itself."""


@contextmanager
def _blocked(signum: signal.Signals) -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signum})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
