"""`approvals`: what sessions ask a person before they do it."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from relay_agentd.cli.completion import complete_agent, complete_approval
from relay_agentd.cli.output import is_terminal, print_json
from relay_agentd.cli.question import Labels, print_question, print_verdict
from relay_agentd.cli.relay import relay
from relay_server.wire import MAX_LIST_LIMIT, ApprovalStatus

if TYPE_CHECKING:
    from relay_agentd.relay_client import RelayClient

_EVENTS = ("approval.requested", "approval.decided", "approval.expired", "approval.canceled")


@click.command("approvals", short_help="List what sessions ask before they do it.")
@click.argument(
    "approval_id",
    metavar="[ID]",
    required=False,
    type=click.IntRange(min=1),
    shell_complete=complete_approval,
)
@click.option("--all", "everything", is_flag=True, help="Also what has been answered.")
@click.option(
    "--agent", metavar="ID", shell_complete=complete_agent, help="Only what this agent asks."
)
@click.option("--watch", is_flag=True, help="Go on with new ones as they come; Ctrl-C ends it.")
@click.option(
    "-n", "--limit", type=click.IntRange(1, MAX_LIST_LIMIT), default=50, show_default=True,
    metavar="N", help="At most so many.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def approvals_command(
    approval_id: int | None,
    everything: bool,
    agent: str | None,
    watch: bool,
    limit: int,
    as_json: bool,
) -> None:
    """List the steps that sessions want to take and wait for an answer; with ID, all of one.

    Answer with `relay-agentd approve ID` or `deny ID`, here, in the dashboard or at the session's
    own terminal: whoever is first.

    \b
    relay-agentd approvals
    relay-agentd approvals 7
    relay-agentd approvals --watch
    relay-agentd approvals --all --json
    """
    from relay_agentd import relay_calls

    with relay() as client:
        labels = Labels(client)
        if approval_id is not None:
            approval = client.request(relay_calls.approval(approval_id))
            if as_json:
                print_json(approval)
            else:
                print_question(approval, labels, whole=True)
            return
        if watch:
            _watch(client, labels, agent, as_json=as_json)
        status = None if everything else ApprovalStatus.PENDING.value
        call = relay_calls.approvals(status=status, agentId=agent, limit=limit)
        answer = client.request(call)
        if as_json:
            print_json(answer)
        elif not answer["approvals"] and is_terminal():
            click.echo("No session waits for an answer.")
        else:
            for approval in reversed(answer["approvals"]):
                print_question(approval, labels)


class _Questions:
    """A `Source` of approvals: what waits at each connect that was not told yet, then each
    change."""

    def __init__(self, client: "RelayClient", agent: str | None) -> None:
        self._client = client
        self._agent = agent
        self._asked: set[int] = set()

    def connection(self) -> Iterator[dict[str, Any]]:
        """The events of one connection. Raises: RelayUnreachable at its end, RelayRefused."""
        from relay_agentd import relay_calls

        with self._client.stream(relay_calls.events(_EVENTS)) as events:
            pending = relay_calls.approvals(
                status="pending", agentId=self._agent, limit=MAX_LIST_LIMIT
            )
            for approval in reversed(self._client.request(pending)["approvals"]):
                if self._is_new(approval):
                    yield {"type": _EVENTS[0], "at": approval["createdAt"], "approval": approval}
            for event in events:
                if event.type not in _EVENTS:
                    continue
                content = event.object()
                approval = content["approval"]
                if self._agent not in (None, approval["agentId"]):
                    continue
                if event.type != _EVENTS[0] or self._is_new(approval):
                    yield {"type": event.type, **content}

    def _is_new(self, approval: Mapping[str, Any]) -> bool:
        is_new = approval["id"] not in self._asked
        self._asked.add(approval["id"])
        return is_new


def _watch(client: "RelayClient", labels: Labels, agent: str | None, *, as_json: bool) -> None:
    from relay_agentd import relay_calls
    from relay_agentd.cli.events import follow

    client.request(relay_calls.approvals(limit=1))  # not there at all: say so and end
    for event in follow(_Questions(client, agent)):
        if as_json:
            print_json(event, lines=True)
        elif event["type"] == _EVENTS[0]:
            print_question(event["approval"], labels)
        else:
            print_verdict(event["approval"])
