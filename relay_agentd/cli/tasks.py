"""`tasks` and `task`: work that integrations, agents and people reported."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from relay_agentd.cli.completion import complete_agent
from relay_agentd.cli.output import (
    clock,
    is_terminal,
    one_line,
    print_json,
    print_table,
    printable,
    seen,
)
from relay_agentd.cli.relay import relay
from relay_server.wire import MAX_LIST_LIMIT, TaskStatus

if TYPE_CHECKING:
    from relay_agentd.relay_client import RelayClient

_ACTIVE = (TaskStatus.OPEN, TaskStatus.CLAIMED, TaskStatus.IN_PROGRESS, TaskStatus.BLOCKED)
_STYLES = {
    "open": "cyan",
    "claimed": "yellow",
    "in_progress": "yellow",
    "blocked": "magenta",
    "done": "green",
    "failed": "red",
    "canceled": "bright_black",
}
COLUMNS = ("TASK", "STATUS", "TITLE", "CLAIMED BY", "FOR", "SEVERITY", "FROM", "TIMES", "SEEN")


@click.command("tasks", short_help="List the work that was reported.")
@click.option("--status", type=click.Choice([status.value for status in TaskStatus]))
@click.option("--all", "everything", is_flag=True, help="Also what has ended.")
@click.option("--target", metavar="TO", help="Only what is for this target, as cap:ops.")
@click.option("--channel", metavar="NAME", help="Only in this channel.")
@click.option("--source", metavar="NAME", help="Only from this integration, agent or person.")
@click.option(
    "--claimed-by", metavar="AGENT", shell_complete=complete_agent, help="Only what it works on."
)
@click.option("-q", "--query", metavar="TEXT", help="Only with this text in title or body.")
@click.option(
    "-n", "--limit", type=click.IntRange(1, MAX_LIST_LIMIT), default=50, show_default=True,
    metavar="N", help="At most so many.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def tasks_command(
    status: str | None, everything: bool, limit: int, query: str | None, as_json: bool, **more: Any
) -> None:
    """List the work that integrations, agents and people reported and that has not ended.

    \b
    relay-agentd tasks
    relay-agentd tasks --status open --target cap:ops
    relay-agentd tasks --all -q migration --json
    """
    filters = {
        "target": more["target"],
        "channel": more["channel"],
        "source": more["source"],
        "claimedBy": more["claimed_by"],
        "q": query,
    }
    with relay() as client:
        if status is not None or everything:
            answer = _find(client, status, limit, filters)
        else:
            answers = [_find(client, active.value, limit, filters) for active in _ACTIVE]
            found = sorted(
                (task for each in answers for task in each["tasks"]),
                key=lambda task: -int(task["id"]),
            )
            is_more = any(each["more"] for each in answers) or len(found) > limit
            answer = {"tasks": found[:limit], "more": is_more}
    if as_json:
        print_json(answer)
        return
    print_table(
        COLUMNS,
        [_row(task) for task in answer["tasks"]],
        styles={"STATUS": _STYLES},
        empty="No task is open. (`relay-agentd tasks --all` also shows those that have ended.)",
    )
    if answer["more"] and is_terminal():
        click.echo(f"There are more: -n {min(MAX_LIST_LIMIT, limit * 4)}", err=True)


@click.command("task", short_help="Show all of one task.")
@click.argument("task_id", metavar="ID", type=click.IntRange(min=1))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def task_command(task_id: int, as_json: bool) -> None:
    """Show task ID: what is to be done, who works on it, and what happened to it.

    \b
    relay-agentd task 7
    """
    from relay_agentd import relay_calls

    with relay() as client:
        task = client.request(relay_calls.task(task_id))
        events = client.request(relay_calls.task_events(task_id))["events"]
    if as_json:
        print_json({**task, "events": events})
    elif is_terminal():
        print_task(task)
        click.echo()
        for event in events:
            click.echo(f"{clock(event['at'])}  {_told(event)}")
    else:
        print_table(COLUMNS, [_row(task)], empty="")


def print_task(task: Mapping[str, Any]) -> None:
    """All of it, for a person."""
    status = click.style(task["status"], fg=_STYLES.get(task["status"]))
    number = click.style(f"task {task['id']}", fg="cyan", bold=True)
    click.echo(f"{number}  {click.style(one_line(task['title']), bold=True)}  {status}")
    facts = {
        "for": task["target"],
        "channel": task["channel"],
        "from": task["source"],
        "severity": task["severity"],
        "claimed by": task["claimedBy"],
        "progress": None if task["progress"] is None else f"{task['progress']} %",
        "times": task["occurrenceCount"] if task["occurrenceCount"] > 1 else None,
        "message": f"#{task['messageId']}" if task["messageId"] else None,
        "see": task["externalUrl"],
        "result": task["result"],
    }
    for name, value in facts.items():
        if value is not None:
            click.echo(f"    {name}: {one_line(str(value))}")
    for line in printable(task["body"] or "").splitlines():
        click.echo(f"    {line}")


def _find(
    client: "RelayClient", status: str | None, limit: int, filters: Mapping[str, str | None]
) -> dict[str, Any]:
    from relay_agentd import relay_calls

    answer: dict[str, Any] = client.request(
        relay_calls.tasks(status=status, limit=limit, **filters)
    )
    return answer


def _row(task: Mapping[str, Any]) -> list[Any]:
    progress = "" if task["progress"] is None else f" {task['progress']} %"
    times = task["occurrenceCount"]
    return [
        task["id"],
        task["status"] + (progress if is_terminal() and task["status"] == "in_progress" else ""),
        task["title"],
        task["claimedBy"],
        task["target"],
        task["severity"],
        task["source"],
        times if times > 1 or not is_terminal() else "",
        seen(task["lastSeenAt"]),
    ]


def _told(event: Mapping[str, Any]) -> str:
    detail = event.get("detail") or {}
    facts = [event["type"].removeprefix("task."), event["status"], event.get("actor")]
    facts += [f"{name}: {value}" for name, value in detail.items()]
    return "  ".join(one_line(str(fact)) for fact in facts if fact)
