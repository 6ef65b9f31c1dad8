"""Who calls: a principal, and what its token lets it do. Pure; the gate finds the principal.

admin        everything: the server's own token, or anyone on loopback when there is none
agent        what a daemon and its sessions do; bound to a machine, only for its agents
read         looks, changes nothing
integration  its scopes, targets and channels, and nothing else
"""

from dataclasses import dataclass
from typing import Final

from relay_server.domain.routing import MalformedTarget, parse_target
from relay_server.wire import OPERATOR, IntegrationScope, TokenScope


@dataclass(frozen=True, slots=True, kw_only=True)
class Integration:
    """An outside system that posts in. `targets` and `channels` None: all of them; empty: none.

    `callback_secret` signs what we send, `webhook_secret` checks what it sends.
    """

    name: str
    scopes: frozenset[IntegrationScope]
    targets: tuple[str, ...] | None = None
    channels: tuple[str, ...] | None = None
    callback_url: str | None = None
    callback_secret: str | None = None
    webhook_secret: str | None = None

    @property
    def addresses(self) -> frozenset[str] | None:
        """Its targets, folded as messages' targets are."""
        if self.targets is None:
            return None
        return frozenset(_folded(target) for target in self.targets)

    def reaches(self, address: str, channel: str | None) -> bool:
        """Whether it may have to do with what goes to this (folded) target and channel.

        What has no channel reaches the hearers of all channels, so limited channels exclude it.
        """
        addresses = self.addresses
        return (addresses is None or address in addresses) and (
            self.channels is None or channel in self.channels
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The bearer of a token. `scope` None: an integration, and then it is there."""

    name: str
    scope: TokenScope | None
    machine: str | None = None
    integration: Integration | None = None
    token_id: int | None = None

    @property
    def key(self) -> str:
        """Tells callers apart: names of tokens may repeat. No agent's id has a colon."""
        return f"{self.scope or 'integration'}:{self.token_id or self.name}"

    @property
    def is_admin(self) -> bool:
        return self.scope is TokenScope.ADMIN


# Whoever holds the server's token, and everyone on loopback when it has none.
OWNER: Final = Principal(name=OPERATOR, scope=TokenScope.ADMIN)


def _folded(target: str) -> str:
    try:
        return parse_target(target).address
    except MalformedTarget:
        return target


# Where no token is asked for; allowed nothing that asks for one.
NOBODY: Final = Principal(name="nobody", scope=None)
