"""`scripts/bench`: which measurements to take."""

import argparse

from scripts.benchmarks import idle, large, server, sessions, streams


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
    parser.add_argument("--large", action="store_true", help="a relay with a million messages")
    options = parser.parse_args()
    # It takes minutes: only on request.
    ordinary = list(suites)
    suites["large"] = large.run
    chosen = ["large"] if options.large else options.suite or ordinary
    for name in chosen:
        print(f"\n{name}", flush=True)
        suites[name]()


if __name__ == "__main__":
    main()
