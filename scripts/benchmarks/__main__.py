"""`scripts/bench`: which measurements to take."""

import argparse

from scripts.benchmarks import idle, server, sessions, streams


def main() -> None:
    """Take the chosen measurements, all by default."""
    suites = {
        "server": server.run,
        "streams": streams.run,
        "sessions": sessions.run,
        "idle": idle.run,
    }
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("suite", nargs="*", choices=[*suites, []], help="default: all")
    chosen = parser.parse_args().suite or list(suites)
    for name in chosen:
        print(f"\n{name}", flush=True)
        suites[name]()


if __name__ == "__main__":
    main()
