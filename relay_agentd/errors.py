"""What can go wrong on this machine, as one tree of exceptions.

    AgentdError
    ├── SettingsInvalid     a value that does not parse               exit 2
    ├── FolderMissing       the folder to work in does not exist      exit 2
    ├── FolderUnsafe        a folder that others could tamper with    exit 3
    ├── StoreUnusable       the daemon's database                     exit 3
    ├── AlreadyRunning      another daemon holds this state folder    exit 4
    ├── RelayUnreachable    no answer from the relay                  exit 3
    ├── RelayRefused        the relay answered with a problem         exit 4
    ├── OutboxFull          too many messages wait for the relay      exit 3
    ├── DaemonUnreachable   nobody listens on the control socket      exit 3
    └── ControlRefused      the daemon answered with an error         exit 4

Each message is one sentence for a person and never holds a token. `exit_status` is what a command
that ends with the error exits with.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class AgentdError(Exception):
    """Any failure that has a name."""

    exit_status: ClassVar[int] = 1


class SettingsInvalid(AgentdError):
    """One or more settings do not parse; `problems` has a line for each."""

    exit_status = 2

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class FolderMissing(AgentdError):
    """The folder a session was to start in is gone, or none of ours to enter."""

    exit_status = 2


class FolderUnsafe(AgentdError):
    """A private folder is not ours alone."""

    exit_status = 3


class StoreUnusable(AgentdError):
    """The daemon's database is corrupt, read-only, locked or newer than this program."""

    exit_status = 3


class AlreadyRunning(AgentdError):
    """Another daemon owns this state folder."""

    exit_status = 4

    def __init__(self, pid: int | None) -> None:
        super().__init__(f"relay-agentd is already running (pid {pid or 'unknown'})")
        self.pid = pid


class RelayUnreachable(AgentdError):
    """The relay did not answer: not started, no network, or it died in between."""

    exit_status = 3

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"relay {url} is not reachable: {reason}")
        self.url = url


class RelayRefused(AgentdError):
    """The relay answered with a problem object; `code` is its stable word."""

    exit_status = 4

    def __init__(self, code: str, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or code))
        self.code = code
        self.status = status
        self.problem = dict(problem)

    @property
    def may_pass(self) -> bool:
        """Is the same call worth another try later, unchanged?"""
        return self.status == 429 or self.status >= 500


class OutboxFull(AgentdError):
    """The relay is away, and as many messages wait for it as are kept."""

    exit_status = 3

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} messages wait for the relay already, so this one was not taken")


class DaemonUnreachable(AgentdError):
    """Nobody answers on the control socket."""

    exit_status = 3


class ControlRefused(AgentdError):
    """The daemon refused a control request; `code` is a stable word."""

    exit_status = 4

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
