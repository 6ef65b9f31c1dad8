"""Who a message is for: targets, addresses, and why an agent does or does not match.

An agent has addresses (its id, `tag:`, `cap:`, `label:`, `broadcast`); a message has one target.
The target is stored folded, so that matching is equality and an inbox a union of index ranges.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from relay_server.wire import BROADCAST, BUILT_IN_AGENTS

AGENT_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
NAME: Final = re.compile(r"[A-Za-z0-9._/-]{1,64}")
MAX_LABEL: Final = 80
# What `parse_target` takes; it looks closer at the length of a label.
TARGET: Final = re.compile(
    rf"(tag|cap):{NAME.pattern}|label:\s{{0,80}}\S[\s\S]{{0,79}}|{AGENT_ID.pattern}"
)


class MalformedTarget(ValueError):
    """The text names no possible receiver."""


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed `to`: the address to match, and the agent's id when it is a direct one."""

    address: str
    agent_id: str | None


@dataclass(frozen=True, slots=True)
class Card:
    """What routing knows of one agent."""

    agent_id: str
    addresses: frozenset[str]
    channels: frozenset[str]
    inbox_start: int
    built_in: bool


def label_address(label: str) -> str:
    """Labels match whatever their case."""
    return f"label:{label.strip().casefold()}"


def parse_target(text: str) -> Target:
    """Raises: MalformedTarget with a sentence for the sender."""
    if text == BROADCAST:
        return Target(BROADCAST, None)
    kind, separator, name = text.partition(":")
    if not separator:
        if AGENT_ID.fullmatch(text) or text in BUILT_IN_AGENTS:
            return Target(text, text)
        raise MalformedTarget("expected an agent id, tag:X, cap:X, label:X, broadcast or operator")
    if kind in ("tag", "cap"):
        if NAME.fullmatch(name):
            return Target(text, None)
        raise MalformedTarget(f"{kind}: takes 1..64 of A-Za-z0-9._/-")
    if kind == "label" and name.strip() and len(name) <= MAX_LABEL:
        return Target(label_address(name), None)
    raise MalformedTarget("expected an agent id, tag:X, cap:X, label:X, broadcast or operator")


def extra_addresses(
    tags: Iterable[str], capabilities: Iterable[str], label: str | None
) -> frozenset[str]:
    """The addresses that can change: all but the id and broadcast."""
    found = {f"tag:{tag}" for tag in tags} | {f"cap:{cap}" for cap in capabilities}
    if label:
        found.add(label_address(label))
    return frozenset(found)


def addresses_of(
    agent_id: str, tags: Iterable[str], capabilities: Iterable[str], label: str | None
) -> frozenset[str]:
    """Every target that reaches the agent."""
    return extra_addresses(tags, capabilities, label) | {agent_id, BROADCAST}


def hears(card: Card, channel: str | None) -> bool:
    """Agents with no channels hear every channel; others theirs and what has none."""
    return channel is None or not card.channels or channel in card.channels


def why_not(card: Card, *, sender: str, target: str, channel: str | None) -> str | None:
    """The reason an agent is not a receiver, or None when it is one."""
    if target not in card.addresses:
        return "none of its addresses is the target"
    if card.agent_id == sender:
        return "it is the sender"
    if not hears(card, channel):
        return f"not subscribed to channel {channel}"
    if card.built_in and target != card.agent_id:
        return "built-in agents take direct messages only"
    return None


def matches(card: Card, *, sender: str, target: str, channel: str | None) -> bool:
    """Whether the agent receives what goes from `sender` to `target`."""
    return why_not(card, sender=sender, target=target, channel=channel) is None
