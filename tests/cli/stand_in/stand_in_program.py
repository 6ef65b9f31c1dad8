"""The stand-in's program: one behaviour of a terminal program for each first argument."""

import json
import os
import signal
import sys
import termios
import tty
from pathlib import Path


def say(text: str) -> None:
    """One line, also in raw mode."""
    os.write(1, f"{text}\r\n".encode())


def wait_for_end() -> None:
    """Sits until a signal ends it."""
    while True:
        signal.pause()


def end_late_and_orderly() -> None:
    """Notes the signals it gets; only the end of its input ends it."""
    seen: list[str] = []

    def note(signum: int, _frame: object) -> None:
        seen.append(signal.Signals(signum).name)
        say(f"NOTED {' '.join(seen)}")

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, note)
    say(f"READY {os.getpid()}")
    sys.stdin.read()
    sys.exit(9)


def full_screen() -> None:
    """Raw mode on the alternate screen; stops itself on Ctrl-Z, as a TUI does."""
    cooked = termios.tcgetattr(0)
    while True:
        tty.setraw(0)
        os.write(1, b"\x1b[?1049h\x1b[?25l\x1b[2J\x1b[H")
        say(f"READY {os.getpid()}")
        key = os.read(0, 1)
        while key not in (b"\x1a", b"q"):
            size = os.get_terminal_size(0)
            say(f"KEY {key!r} {size.lines}x{size.columns}")
            key = os.read(0, 1)
        termios.tcsetattr(0, termios.TCSADRAIN, cooked)
        os.write(1, b"\x1b[?25h\x1b[?1049l")
        if key == b"q":
            sys.exit(5)
        os.kill(os.getpid(), signal.SIGSTOP)


def main() -> None:
    """Do what the arguments say."""
    behaviour, *rest = sys.argv[1:] or ["wait"]
    if behaviour == "environment":
        Path(rest[0]).write_text(json.dumps(dict(os.environ)), encoding="utf-8")
        return
    if behaviour in ("exit", "plain"):
        sys.exit(int(rest[0]))
    if behaviour == "stubborn-helper":
        return
    if behaviour == "signals":
        end_late_and_orderly()
    if behaviour == "full-screen":
        full_screen()
    say(f"READY {os.getpid()}")
    if behaviour == "lines":
        for line in sys.stdin:
            say(f"GOT {line.strip()}")
        return
    wait_for_end()


main()
