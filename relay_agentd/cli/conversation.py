"""How messages look: a heading line and the body for a person, one tab-separated line in a pipe."""

import shutil
from collections.abc import Iterable, Mapping
from typing import Any

import click

from relay_agentd.cli.output import clock, is_terminal, one_line, print_json, printable
from relay_launchers.frame import outside_source, task_of

Message = Mapping[str, Any]


def print_messages(envelope: Mapping[str, Any], *, as_json: bool, empty: str) -> None:
    """A list of messages as the API answered it."""
    messages: Iterable[Message] = envelope["messages"]
    if as_json:
        print_json(envelope)
    elif not messages and is_terminal():
        click.echo(empty)
    else:
        for message in messages:
            print_message(message)


def print_message(message: Message) -> None:
    """One message."""
    if is_terminal():
        _print_for_a_person(message)
    else:
        fields = ("id", "createdAt", "from", "to", "subject", "body")
        click.echo("\t".join(one_line(str(message.get(name) or "")) for name in fields))


def _print_for_a_person(message: Message) -> None:
    who = (
        click.style(f"#{message['id']}", fg="cyan", bold=True)
        + f"  {click.style(_sender(message), bold=True)}"
        + f" → {click.style(one_line(message['to']), bold=True)}"
        + click.style(f"  {clock(message['createdAt'])}", fg="bright_black")
    )
    remarks = _remarks(message)
    length = len(click.unstyle(who)) + len(remarks)
    is_narrow = length > shutil.get_terminal_size().columns
    click.echo(who + ("\n  " if is_narrow else "") + click.style(remarks, fg="bright_black"))
    # A task's text begins with its title.
    if message.get("subject") and message["body"].split("\n", 1)[0] != message["subject"]:
        click.echo(f"    {click.style(one_line(message['subject']), bold=True)}")
    for line in printable(message["body"]).splitlines():
        click.echo(f"    {line}")


def _sender(message: Message) -> str:
    outside = outside_source(message)
    return one_line(message["from"]) if outside is None else f"external:{outside}"


def _remarks(message: Message) -> str:
    remarks = []
    task_id = task_of(message)
    if task_id is not None:
        remarks.append(f"task {task_id}")
    if message.get("replyTo"):
        remarks.append(f"re #{message['replyTo']}")
    if message.get("channel"):
        remarks.append(f"channel {message['channel']}")
    if message.get("priority") not in (None, "normal"):
        remarks.append(str(message["priority"]))
    if message.get("held"):
        remarks.append("held")
    if message.get("claimable"):
        remarks.append(_claim(message.get("claim")))
    return "".join(f"  {one_line(remark)}" for remark in remarks)


def _claim(claim: Mapping[str, Any] | None) -> str:
    if claim is None:
        return "open for claiming"
    return f"{'completed' if claim.get('completedAt') else 'claimed'} by {claim['agentId']}"
