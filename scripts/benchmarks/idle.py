"""What relay and daemon cost while thirty sessions do nothing."""

import time
from contextlib import ExitStack

import psutil

from scripts.benchmarks.measure import report
from tests.cli.machine import Machine
from tests.support.processes import marked
from tests.support.providers import MARKER

IN_TERMINALS = 20
IN_THE_BACKGROUND = 10
SESSIONS = IN_TERMINALS + IN_THE_BACKGROUND
SECONDS = 20.0
MEGABYTES = {"relay_agentd": 110, "relay_server": 60}
SHARE_OF_A_CORE = 0.005


def run() -> None:
    """Sessions of a stand-in provider; the MCP SDK is loaded, as any tool call loads it."""
    with Machine() as machine, ExitStack() as terminals:
        for _ in range(IN_TERMINALS):
            window = machine.terminal("run", "stand-in", "--", "wait")
            terminals.enter_context(window).wait_for_text("READY", 30)
        for _ in range(IN_THE_BACKGROUND):
            done = machine.run("run", "--background", "stand-in")
            assert done.returncode == 0, done.stderr
        for module, megabytes in MEGABYTES.items():
            _measure(_serving(machine, module), module, megabytes)


def _measure(process: psutil.Process, module: str, megabytes: int) -> None:
    before, started = sum(process.cpu_times()[:2]), time.monotonic()
    time.sleep(SECONDS)
    share = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - started)
    resident = process.memory_info().rss / 1e6
    met = share <= SHARE_OF_A_CORE
    name = f"{module} with {SESSIONS} idle sessions"
    report(f"{name}, of a core", f"{share:.2%}", f"<= {SHARE_OF_A_CORE:.1%}", met=met)
    met = resident <= megabytes
    report(f"{name}, memory", f"{resident:.0f} MB", f"<= {megabytes} MB", met=met)


def _serving(machine: Machine, module: str) -> psutil.Process:
    processes = marked(MARKER, str(machine.home.path))
    return next(each for each in processes if {module, "serve"} <= set(each.cmdline()))
