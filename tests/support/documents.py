"""The code in the project's documents, so that tests can run it."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "scripts" / "examples"
_SECONDS = 40


def blocks(document: str, language: str) -> list[str]:
    """The fenced blocks of one language, in order."""
    text = (ROOT / document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run_shell(script: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """One script by the system's `sh`, ended at its first failure."""
    return run(["sh", "-eu", "-c", script], environment)


def run(
    argv: list[str], environment: dict[str, str], text: str = ""
) -> subprocess.CompletedProcess[str]:
    """A program with a clean environment and `text` on its standard input."""
    return subprocess.run(
        argv,
        env=environment,
        cwd=ROOT,
        input=text,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
