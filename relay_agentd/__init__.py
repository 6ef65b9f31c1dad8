"""One daemon a machine, and the command line, of Agent Relay."""


def __getattr__(name: str) -> str:
    """`__version__`, looked up when asked for: that costs a third of what `--help` takes."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("agent-relay")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0.0.0"
