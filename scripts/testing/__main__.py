"""Prepares what the tests need, runs them, and says how many passed, failed and were skipped."""

import argparse
import sys
from functools import partial
from pathlib import Path

from scripts.testing import chromium, clis, environment, iproute
from scripts.testing.stages import Counts, Stages
from scripts.testing.tools import PreparationError, say

ORDINARY = "not real_cli and not browser"


def main() -> int:
    """The whole run."""
    parser = argparse.ArgumentParser(prog="scripts/test")
    parser.add_argument("--fast", action="store_true", help="no real providers and no browser")
    parser.add_argument("--fix", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--bench", action="store_true", help=argparse.SUPPRESS)
    options, selection = parser.parse_known_args()
    try:
        venv = environment.virtual_environment()
        if options.fix:
            return Stages(venv, {}).fix()
        variables = {"RELAY_TEST_WHEELS": str(environment.dependency_wheels(venv))}
    except PreparationError as failure:
        print(f"scripts/test: {failure}", file=sys.stderr)
        return 1
    if not options.fast:
        _fetch_programs(venv)
    if options.bench:
        return Stages(venv, variables).bench(selection)
    counts = _run(Stages(venv, variables), selection, fast=options.fast)
    print(counts, flush=True)
    return 1 if counts.failed else 0


def _fetch_programs(venv: Path) -> None:
    """Real providers, a browser and `ip`. What stays missing, its tests report by name."""
    for fetch in (partial(clis.fetch_all, venv), chromium.make_available, iproute.make_available):
        try:
            fetch()
        except PreparationError as failure:
            say(str(failure))


def _run(stages: Stages, selection: list[str], *, fast: bool) -> Counts:
    """Lint and all tests, or just the selected ones."""
    if selection:
        return stages.pytest("selected", [*(["-m", ORDINARY] if fast else []), *selection])
    # Ordinary tests share nothing and run side by side. Real providers mostly wait for each other,
    # so two at once cost little; the soak and the browser have the machine to themselves, or their
    # time limits would measure the neighbours.
    counts = stages.lint() + stages.pytest("ordinary", ["-m", ORDINARY, "-n", "2"])
    if not fast:
        counts += stages.pytest("real-cli", ["-m", "real_cli and not alone", "-n", "2"])
        counts += stages.pytest("alone", ["-m", "real_cli and alone"])
        counts += stages.pytest("browser", ["-m", "browser and not real_cli"])
    return counts


if __name__ == "__main__":
    sys.exit(main())
