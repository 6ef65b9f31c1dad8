"""Running a step of the preparation: quiet while it works, everything it said when it fails."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"


class PreparationError(Exception):
    """Something the tests need could not be had; the text says what and why."""


def say(text: str) -> None:
    """One line of progress."""
    print(f"== {text}", flush=True)


def run_quietly(
    argv: Sequence[str], purpose: str, environment: Mapping[str, str] | None = None
) -> None:
    """Runs a program; says what for and how long it took.

    Raises:
        PreparationError: it failed; with the end of its output.
    """
    say(f"{purpose} ...")
    started = time.monotonic()
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        check=False,
    )
    if done.returncode != 0:
        said = "\n".join(done.stdout.splitlines()[-25:])
        raise PreparationError(f"{purpose}: failed with status {done.returncode}\n{said}")
    say(f"{purpose}: done in {time.monotonic() - started:.0f} s")


@contextmanager
def built_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `target` in one step when the block ends without an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{target.name}.", dir=target.parent) as temporary:
        filled = Path(temporary) / "filled"
        filled.mkdir()
        yield filled
        shutil.rmtree(target, ignore_errors=True)
        filled.rename(target)
