"""Following the relay's events without a gap, and how an event of `tail` looks in a terminal.

The relay's event log lives as long as the relay, messages live in its database. So after each
connect the messages that were created in between are read from there, and an event that tells of
one of them again is left out.
"""

import random
from collections.abc import Iterator
from time import sleep
from typing import Any, Protocol

import click

from relay_agentd import relay_calls
from relay_agentd.backoff import Backoff
from relay_agentd.cli.conversation import print_message
from relay_agentd.cli.output import clock, is_terminal, one_line, print_json
from relay_agentd.errors import RelayRefused, RelayUnreachable
from relay_agentd.relay_client import RelayClient
from relay_server.wire import MAX_LIST_LIMIT

Event = dict[str, Any]


class Source(Protocol):
    """What is followed."""

    def connection(self) -> Iterator[Event]:
        """The events of one connection. Raises: RelayUnreachable at its end, RelayRefused."""


class MessageSource:
    """All events; where we are in them: the newest message and event seen."""

    def __init__(self, client: RelayClient) -> None:
        self._client = client
        newest = client.request(relay_calls.messages(limit=1))["messages"]
        self._message: int = newest[0]["id"] if newest else 0
        self._event: str | None = None

    def connection(self) -> Iterator[Event]:
        """The events of one connection. Raises: RelayUnreachable at its end, RelayRefused."""
        with self._client.stream(relay_calls.events(last_event_id=self._event)) as events:
            yield from self._missed()
            for event in events:
                self._event = event.id or self._event
                content = event.object()
                if event.type == "message.created" and not self._is_new(content["message"]):
                    continue
                if event.type != "reset":
                    yield {"type": event.type, **content}

    def _missed(self) -> Iterator[Event]:
        """The messages that were created while nobody listened, as the events they were."""
        missed: list[Event] = []
        before = None
        while True:
            call = relay_calls.messages(after=self._message, before=before, limit=MAX_LIST_LIMIT)
            page = self._client.request(call)
            missed.extend(page["messages"])
            if not page["more"]:
                break
            before = missed[-1]["id"]
        for message in reversed(missed):
            if self._is_new(message):
                yield {"type": "message.created", "at": message["createdAt"], "message": message}

    def _is_new(self, message: dict[str, Any]) -> bool:
        if message["id"] <= self._message:
            return False
        self._message = message["id"]
        return True


def follow(source: Source) -> Iterator[Event]:
    """Every event from now on; says once each time that the relay is gone. Raises: RelayRefused."""
    backoff = Backoff(first=0.1, cap=2.0)
    told = False
    while True:
        reason = "the relay ended the stream"
        try:
            for event in source.connection():
                told = False
                backoff.reset()
                yield event
        except RelayUnreachable as error:
            reason = str(error)
        except RelayRefused as error:
            if not error.may_pass:
                raise
            reason = str(error)
        if not told:
            click.echo(f"relay-agentd: {reason}; waiting for it ...", err=True)
            told = True
        sleep(backoff.next_delay(random.random()))  # noqa: S311 - no secret


class EventPrinter:
    """Shows the events a person asked for."""

    def __init__(self, types: tuple[str, ...], agent: str | None, *, as_json: bool) -> None:
        """`types` are whole names, or families that end in a dot."""
        self._types = types
        self._agent = agent
        self._as_json = as_json

    def show(self, event: Event) -> None:
        """Print it, if it is one of those."""
        if not event["type"].startswith(self._types) or not self._concerns_agent(event):
            return
        if self._as_json:
            print_json(event, lines=True)
        elif event["type"] == "message.created":
            print_message(event["message"])
        else:
            self._print_line(event)

    def _concerns_agent(self, event: Event) -> bool:
        if self._agent is None:
            return True
        message = event.get("message") or {}
        named = (event.get("agentId"), message.get("from"), message.get("to"))
        return self._agent in (*named, (event.get("agent") or {}).get("id"))

    def _print_line(self, event: Event) -> None:
        message = event.get("message") or {}
        subject = event.get("messageId") or message.get("id")
        who = event.get("agentId") or (event.get("agent") or {}).get("id") or ""
        state = (
            event.get("state") or event.get("status") or (event.get("receipt") or {}).get("state")
        )
        fields = (event["type"], f"#{subject}" if subject else "", who, state or "")
        shown = [one_line(str(field)) for field in fields if field]
        if is_terminal():
            click.secho("  ".join([clock(event["at"]), *shown]), fg="bright_black")
        else:
            click.echo("\t".join([event["at"], *(one_line(str(field)) for field in fields)]))
