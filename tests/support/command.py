"""Runs a stand-in model as a program of its own, to try things by hand and for scripts/bench."""

import argparse
import signal

from tests.support.standin import StandIn


def run(kind: type[StandIn]) -> None:
    """Serves until it is told to end; the first line printed says where."""
    parser = argparse.ArgumentParser(description=f"stand-in for the {kind.name} model API")
    parser.add_argument("--port", type=int, default=0, help="default: any free port")
    parser.add_argument("--on-message", help="directives that follow each relay message's head")
    options = parser.parse_args()
    # Blocked before any thread starts, so that all of them leave the signal to this one.
    ending = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    with kind(options.port, on_message=options.on_message) as stand_in:
        print(f"{kind.name} stand-in listening {stand_in.url}", flush=True)
        signal.sigwait(ending)
