"""A terminal for a test: a real pty, a real screen, and answers to what programs ask a terminal.

Owns the pty's master side, one reader thread and one child process; `close` ends all three. Only
the child itself is ever signalled: what it leaves behind is for the tests to find.
"""

import fcntl
import os
import re
import selectors
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte

from tests.support.wait import eventually

# Runs in the child between fork and the program: makes the pty its controlling terminal.
_TAKE_TERMINAL = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
os.execvp(sys.argv[1], sys.argv[1:])
"""
_KEYS = {
    "Enter": "\r",
    "Escape": "\x1b",
    "Tab": "\t",
    "BTab": "\x1b[Z",
    "Backspace": "\x7f",
    "Up": "\x1b[A",
    "Down": "\x1b[B",
    "Right": "\x1b[C",
    "Left": "\x1b[D",
}
# A whole escape sequence: CSI, or a string (OSC, DCS, APC, PM, SOS) up to its terminator.
_SEQUENCE = re.compile(
    rb"\x1b\[(?P<csi>[0-?]*[ -/]*[@-~])|\x1b(?P<string>[\]P_^X][^\x07\x1b]*)(?:\x07|\x1b\\)"
)
# The beginning of one, at the end of what has been read so far.
_UNFINISHED = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|[\]P_^X][^\x07\x1b]*\x1b?)?\Z")
# CSI sequences pyte would draw as text or raise on: private ones but for modes and erasing.
_NOT_FOR_PYTE = re.compile(rb"[<=>].*|\?.*[^hlJK]|.*[ -/].", re.DOTALL)


class Terminal:
    """One program in its own terminal window."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        rows: int = 40,
        cols: int = 120,
    ) -> None:
        self._rows, self._cols = rows, cols
        self._screen = pyte.Screen(cols, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._guard = threading.Lock()
        self._pending = b""
        self._pastes_bracketed = False
        self._hung_up = False
        self._thawed = threading.Event()
        self._thawed.set()
        self._master, slave = os.openpty()
        try:
            size = struct.pack("HHHH", rows, cols, 0, 0)
            fcntl.ioctl(slave, termios.TIOCSWINSZ, size)
            self._child = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _TAKE_TERMINAL, *argv],
                stdin=slave,
                stdout=slave,
                stderr=slave,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )
        except BaseException:
            os.close(self._master)
            raise
        finally:
            os.close(slave)
        self._waker, self._woken = os.pipe()
        self._reader = threading.Thread(target=self._read, name=f"terminal of {argv[0]}")
        self._reader.start()

    @property
    def pid(self) -> int:
        """The program's own process."""
        return self._child.pid

    def screen(self) -> str:
        """What a person would see now, without trailing blanks."""
        with self._guard:
            lines = [line.rstrip() for line in self._screen.display]
        return "\n".join(lines).rstrip()

    def wait_for_text(self, pattern: str, within: float = 20.0) -> str:
        """Waits until the screen shows the regular expression; returns the screen.

        Raises:
            AssertionError: it did not come, or the program ended; the screen is in the message.
        """
        expected = re.compile(pattern, re.MULTILINE)

        def shown() -> str | None:
            ended = self._child.poll() is not None and not self._reader.is_alive()
            screen = self.screen()
            if expected.search(screen):
                return screen
            if ended:
                message = (
                    f"ended with {self._child.returncode} before {pattern!r} showed:\n{screen}"
                )
                raise EOFError(message)
            return None

        try:
            return (
                eventually(
                    shown, within, message=lambda: f"{pattern!r} did not show:\n{self.screen()}"
                )
                or ""
            )
        except EOFError as error:
            raise AssertionError(str(error)) from None

    def write(self, text: str) -> None:
        """Types characters as they are."""
        os.write(self._master, text.encode())

    def paste(self, text: str) -> None:
        """Pastes text, marked as a paste when the program asked for that."""
        self.write(f"\x1b[200~{text}\x1b[201~" if self._pastes_bracketed else text)

    def press(self, *keys: str) -> None:
        """Presses keys: Enter, Escape, Tab, BTab, Backspace, arrows, C-x, or a character."""
        for key in keys:
            if re.fullmatch(r"C-[a-z]", key):
                self.write(chr(ord(key[2]) - ord("a") + 1))
            else:
                self.write(_KEYS.get(key, key))

    def submit(self, text: str, within: float = 20.0) -> None:
        """Gives a provider a prompt: pastes it, sees it in the composer, presses Enter."""
        self.paste(text)
        beginning = re.escape(text[:24])
        self.wait_for_text(rf"{beginning}|\[Pasted", within)
        self.press("Enter")

    def resize(self, rows: int, cols: int) -> None:
        """Changes the window's size."""
        with self._guard:
            self._rows, self._cols = rows, cols
            self._screen.resize(rows, cols)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def freeze(self) -> None:
        """Stops the window's own program: nothing that is written is read any more."""
        self._thawed.clear()

    def thaw(self) -> None:
        """Lets it go on."""
        self._thawed.set()

    def hang_up(self) -> None:
        """Closes the window: the kernel tells the program by SIGHUP."""
        if self._hung_up:
            return
        self._hung_up = True
        self.thaw()
        os.write(self._woken, b"x")
        self._reader.join()
        os.close(self._waker)
        os.close(self._woken)
        os.close(self._master)

    def exit_status(self, within: float = 10.0) -> int:
        """The program's exit status, negative for a signal; waits for it to end.

        Raises:
            AssertionError: it still runs; the screen is in the message.
        """
        try:
            return self._child.wait(within)
        except subprocess.TimeoutExpired:
            message = f"still running after {within} s:\n{self.screen()}"
            raise AssertionError(message) from None

    def close(self) -> None:
        """Closes the window and makes sure that the program ends."""
        self.hang_up()
        for ending in (None, signal.SIGTERM, signal.SIGKILL):
            if ending is not None:
                self._child.send_signal(ending)
            try:
                self._child.wait(5)
            except subprocess.TimeoutExpired:
                continue
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self) -> None:
        """The reader thread: feeds the screen and answers queries until the window closes."""
        with selectors.DefaultSelector() as ready:
            ready.register(self._master, selectors.EVENT_READ)
            ready.register(self._waker, selectors.EVENT_READ)
            while True:
                if any(key.fd == self._waker for key, _ in ready.select()):
                    return
                self._thawed.wait()
                try:
                    data = os.read(self._master, 65536)
                except OSError:
                    return  # EIO: no process holds the other side any more
                if not data:
                    return
                self._take(data)

    def _take(self, data: bytes) -> None:
        """Shows what was written, in order with the answers to what was asked."""
        data = self._pending + data
        if unfinished := _UNFINISHED.search(data):
            data, self._pending = data[: unfinished.start()], unfinished.group()
        else:
            self._pending = b""
        position = 0
        for sequence in _SEQUENCE.finditer(data):
            self._show(data[position : sequence.start()])
            position = sequence.end()
            if (csi := sequence["csi"]) is None:
                self._answer(self._reply_to_string(sequence["string"]))
                continue
            self._note_mode(csi)
            if reply := self._reply_to_csi(csi):
                self._answer(reply)
            elif not _NOT_FOR_PYTE.fullmatch(csi):
                self._show(sequence.group())
        self._show(data[position:])

    def _show(self, data: bytes) -> None:
        if data:
            with self._guard:
                self._stream.feed(data)

    def _answer(self, reply: str | None) -> None:
        if reply is not None:
            os.write(self._master, reply.encode())

    def _note_mode(self, csi: bytes) -> None:
        if csi in {b"?2004h", b"?2004l"}:
            self._pastes_bracketed = csi.endswith(b"h")

    def _reply_to_csi(self, csi: bytes) -> str | None:
        """The answer of a plain modern terminal; the kitty keyboard is left unanswered on purpose.

        A program that waits for the kitty answer asks for device attributes right behind it and
        takes those alone as "no": then the keys above mean what they always meant.
        """
        if csi == b"6n":
            with self._guard:
                cursor = self._screen.cursor
                return f"\x1b[{cursor.y + 1};{cursor.x + 1}R"
        if mode := re.fullmatch(rb"\?(\d+)\$p", csi):
            return f"\x1b[?{int(mode[1])};0$y"
        return {
            b"5n": "\x1b[0n",
            b"c": "\x1b[?62;22c",
            b"0c": "\x1b[?62;22c",
            b">c": "\x1b[>1;10;0c",
            b">0c": "\x1b[>1;10;0c",
            b">q": "\x1bP>|pyte\x1b\\",
            b">0q": "\x1bP>|pyte\x1b\\",
            b"18t": f"\x1b[8;{self._rows};{self._cols}t",
        }.get(csi)

    def _reply_to_string(self, string: bytes) -> str | None:
        """Colours, when asked for: light text on a dark ground."""
        colours = {b"]10;?": ("10", "e6e6"), b"]11;?": ("11", "1111")}
        if string in colours:
            number, value = colours[string]
            return f"\x1b]{number};rgb:{value}/{value}/{value}\x1b\\"
        return None
