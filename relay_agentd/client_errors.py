"""The refusals of the relay that a program reacts to, as exceptions of their own."""

from typing import Final

from relay_agentd.errors import AgentdError, RelayRefused, RelayUnreachable

__all__ = [
    "AgentdError",
    "AlreadyClaimed",
    "Forbidden",
    "NotFound",
    "RelayRefused",
    "RelayUnreachable",
    "StaleInstance",
    "named",
]


class StaleInstance(RelayRefused):
    """A newer run of this agent has taken over: end."""


class AlreadyClaimed(RelayRefused):
    """Somebody else was faster: leave it to `claimed_by`."""

    @property
    def claimed_by(self) -> str | None:
        """Who has it."""
        name = self.problem.get("claimedBy")
        return name if isinstance(name, str) else None


class NotFound(RelayRefused):
    """There is no such agent, message or task (any more)."""


class Forbidden(RelayRefused):
    """The token is wrong, or may not do this: tell a person."""


_BY_CODE: Final = {"stale_instance": StaleInstance, "already_claimed": AlreadyClaimed}
_BY_STATUS: Final = {401: Forbidden, 403: Forbidden, 404: NotFound}


def named(refusal: RelayRefused) -> RelayRefused:
    """The same refusal as the exception that has a name for it, if one has."""
    kind = _BY_CODE.get(refusal.code) or _BY_STATUS.get(refusal.status) or RelayRefused
    return kind(refusal.code, refusal.status, refusal.problem)
