"""One daemon a machine, and the command line, of Agent Relay."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("agent-relay")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0.0.0"
