"""The stages of a test run, and how many tests each of them passed, failed and skipped."""

import os
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.testing.tools import CACHE, ROOT, say

LINTERS: tuple[tuple[str, ...], ...] = (
    ("ruff", "check"),
    ("ruff", "format", "--check"),
    ("mypy",),
    ("lint-imports",),
    ("deptry", "."),
)
NO_TESTS_COLLECTED = 5


@dataclass(frozen=True, slots=True)
class Counts:
    """How many passed, failed and were skipped."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped
        )

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


class Stages:
    """Runs tools of the tests' environment; a failed linter counts as one failed test."""

    def __init__(self, environment: Path, variables: Mapping[str, str]) -> None:
        self._bin = environment / "bin"
        path = f"{self._bin}{os.pathsep}{os.environ.get('PATH', '')}"
        self._variables = {**os.environ, **variables, "PATH": path}

    def lint(self) -> Counts:
        """Every linter, also after one has failed."""
        failed = [words for words in LINTERS if self._run(words) != 0]
        for words in failed:
            say(f"{' '.join(words)} FAILED")
        return Counts(failed=len(failed))

    def fix(self) -> int:
        """Formats, and mends what can be mended by a tool."""
        return max(self._run(("ruff", "check", "--fix")), self._run(("ruff", "format")))

    def bench(self, suites: Sequence[str]) -> int:
        """Takes the measurements."""
        return self._run(("python", "-m", "scripts.benchmarks", *suites))

    def pytest(self, name: str, arguments: Sequence[str]) -> Counts:
        """One run of pytest, counted by its own report."""
        report = CACHE / "reports" / f"{name}.xml"
        report.parent.mkdir(parents=True, exist_ok=True)
        report.unlink(missing_ok=True)
        status = self._run(("pytest", f"--junitxml={report}", *arguments))
        counts = _read(report) if report.exists() else Counts()
        broken = status not in {0, NO_TESTS_COLLECTED} and counts.failed == 0
        return counts + Counts(failed=1) if broken else counts

    def _run(self, words: Sequence[str]) -> int:
        say(" ".join(words))
        started = time.monotonic()
        argv = [str(self._bin / words[0]), *words[1:]]
        done = subprocess.run(
            argv, cwd=ROOT, env=self._variables, stdin=subprocess.DEVNULL, check=False
        )
        say(f"{words[0]}: status {done.returncode} after {time.monotonic() - started:.0f} s")
        return done.returncode


def _read(report: Path) -> Counts:
    """The counts of a JUnit report that pytest wrote a moment ago."""
    passed = failed = skipped = 0
    for suite in ET.parse(report).iter("testsuite"):
        tests, errors, failures, skips = (
            int(suite.get(word, "0")) for word in ("tests", "errors", "failures", "skipped")
        )
        passed += tests - errors - failures - skips
        failed += errors + failures
        skipped += skips
    return Counts(passed, failed, skipped)
