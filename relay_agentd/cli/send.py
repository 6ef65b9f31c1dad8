"""`send`: say something to a session from anywhere."""

import secrets
import sys
from typing import TYPE_CHECKING, Any

import click

from relay_agentd.cli.completion import complete_agent, complete_target
from relay_agentd.cli.explain import print_candidates
from relay_agentd.cli.output import is_terminal, one_line, print_json, progress
from relay_agentd.cli.relay import relay
from relay_server.wire import BUILT_IN_AGENTS, MAX_WAIT_SECONDS, OPERATOR, Priority, ReceiptState

if TYPE_CHECKING:
    from relay_agentd.relay_client import RelayClient

# What a person can wait for, in the order a message goes through. Plain texts: of an enumeration
# click would take the names, not the values.
_WAITABLE = [
    state.value
    for state in (
        ReceiptState.ROUTED,
        ReceiptState.HANDED,
        ReceiptState.IN_CONTEXT,
        ReceiptState.READ,
        ReceiptState.REPLIED,
    )
]
_PRIORITIES = [priority.value for priority in Priority]
_NOT_IN_TIME = 1


@click.command("send", short_help="Send a message to a session, a tag, or everyone.")
@click.argument("to", shell_complete=complete_target)
@click.argument("text")
@click.option(
    "--from",
    "sender",
    metavar="ID",
    shell_complete=complete_agent,
    help="Speak as this agent.",
)
@click.option("--subject", metavar="TEXT", help="A heading.")
@click.option("--channel", metavar="NAME", help="Only agents that follow this channel.")
@click.option("--priority", type=click.Choice(_PRIORITIES), help="`urgent` may steer a turn.")
@click.option("--claimable", is_flag=True, help="Work for one: exactly one receiver can take it.")
@click.option("--reply-to", type=click.IntRange(min=1), metavar="MSG", help="Answer a message.")
@click.option("--wait", "state", type=click.Choice(_WAITABLE), help="Return when it got this far.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, max=86400),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long --wait waits.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def send_command(
    to: str,
    text: str,
    sender: str | None,
    state: str | None,
    timeout: float,
    as_json: bool,
    **more: Any,
) -> int:
    """Send TEXT to TO; a TEXT of `-` is read from stdin.

    TO is an agent's id, `label:NAME`, `tag:NAME`, `cap:NAME`, `broadcast` or `operator`. It comes
    from `operator`, you; inside a session that `relay-agentd run` started, from its agent.

    \b
    relay-agentd send label:backend "is the migration clean?" --wait in_context
    git diff | relay-agentd send cap:review - --subject "a review" --claimable
    relay-agentd send tag:shop "pause, I am rebasing" --priority urgent

    Exit status: 0 sent (with --wait: reached), 1 not reached in time, 2 wrong use, 3 relay not
    reachable, 4 refused by the relay.
    """
    from relay_agentd import relay_calls
    from relay_agentd.cli.own_session import OwnSession

    own = OwnSession.around() if sender is None else None
    fields = _fields(to=to, body=_body(text), sender=sender or OPERATOR, more=more)
    with relay() as client:
        message = (
            client.request(relay_calls.send(fields, idempotency_key=f"cli-{secrets.token_hex(16)}"))
            if own is None
            else own.send(fields)
        )
        if message is None:
            _print_queued(as_json=as_json)
            return 0 if state is None else _NOT_IN_TIME
        if state is None:
            _print_sent(message, as_json=as_json)
            return 0
        return _follow(client, message["id"], state, timeout, as_json=as_json)


def _follow(
    client: "RelayClient", message_id: int, state: str, timeout: float, *, as_json: bool
) -> int:
    """Wait until it got that far, and say whether it did."""
    from relay_agentd import relay_calls

    with progress(f"waiting until #{message_id} is {state}"):
        answer = _wait(client, message_id, state, timeout)
    reached = answer.get("reached") is not False
    if as_json:
        print_json(answer)
    elif reached:
        click.echo(f"#{message_id} {state}" if is_terminal() else f"{message_id}\t{state}")
    if not reached:
        _say_not_reached(message_id, state, timeout)
        if not as_json:
            print_candidates(client.request(relay_calls.explain(message_id)))
    return 0 if reached else _NOT_IN_TIME


def _print_queued(*, as_json: bool) -> None:
    if as_json:
        print_json({"queued": True})
    click.echo("The relay is away: the message is kept here and goes out by itself.", err=True)


def _body(text: str) -> str:
    if text != "-":
        return text
    if sys.stdin.isatty():
        click.echo("Write the message; Ctrl-D ends it.", err=True)
    return sys.stdin.read()


def _fields(*, to: str, body: str, sender: str, more: dict[str, Any]) -> dict[str, Any]:
    """The message as the contract names it; what was not given is left out."""
    names = {
        "subject": more["subject"],
        "channel": more["channel"],
        "priority": more["priority"],
        "claimable": more["claimable"] or None,
        "replyTo": more["reply_to"],
    }
    given = {name: value for name, value in names.items() if value is not None}
    return {"from": sender, "to": to, "body": body, **given}


def _wait(client: "RelayClient", message_id: int, state: str, timeout: float) -> dict[str, Any]:
    """The message when every receiver reached `state`, or with ``reached: false`` after it."""
    from relay_agentd import relay_calls
    from relay_agentd.clock import monotonic

    deadline = monotonic() + timeout
    while True:
        left = max(0.0, deadline - monotonic())
        # The relay holds an answer back for a minute at most: longer waits are several.
        wait = min(left, MAX_WAIT_SECONDS)
        answer: dict[str, Any] = client.request(
            relay_calls.message(message_id, wait=wait, state=state)
        )
        if answer.get("reached") is not False or left <= MAX_WAIT_SECONDS:
            return answer


def _print_sent(message: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(message)
    elif not is_terminal():
        click.echo(message["id"])
    else:
        count = message.get("recipients", 0)
        who = one_line(message["to"])
        if who in BUILT_IN_AGENTS:
            click.echo(f"#{message['id']} sent to {who}")
        elif count == 0:
            click.echo(f"#{message['id']} is stored, but nobody matches {who} now.")
        else:
            agents = "1 agent" if count == 1 else f"{count} agents"
            click.echo(f"#{message['id']} sent to {who} ({agents})")


def _say_not_reached(message_id: int, state: str, timeout: float) -> None:
    click.echo(
        f"relay-agentd: #{message_id} was not {state} within {timeout:g} s"
        f" (it stays on the relay; `relay-agentd explain {message_id}` says more)",
        err=True,
    )
