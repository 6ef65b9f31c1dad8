"""`run`: a provider in this terminal, on the relay."""

from pathlib import Path
from typing import Any

import click

from relay_agentd.cli import machine
from relay_agentd.errors import FolderMissing
from relay_server.wire import ApprovalMode


@click.command("run", short_help="Run Claude Code or Codex in this terminal, on the relay.")
@click.option(
    "--approval",
    type=click.Choice([mode.value for mode in ApprovalMode]),
    help="What it may do unasked.",
)
@click.option("--label", metavar="TEXT", help="What people call it.")
@click.option(
    "--tag", "tags", multiple=True, metavar="T", help="A group it belongs to. Repeatable."
)
@click.option("--cap", "caps", multiple=True, metavar="C", help="What it can do. Repeatable.")
@click.option("--channel", "channels", multiple=True, metavar="CH", help="Only these. Repeatable.")
@click.option("--profile", metavar="NAME", help="A description from profiles.json.")
@click.option(
    "--cwd",
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    help="Where it works (here).",
)
@click.option("--no-autostart", is_flag=True, help="Do not start a relay or daemon.")
@click.argument("provider")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- ARGS]...")
def run_command(
    provider: str,
    arguments: tuple[str, ...],
    cwd: Path | None,
    no_autostart: bool,
    **description: Any,
) -> int:
    """Run PROVIDER (claude or codex) in this terminal, on the relay.

    The relay and the daemon are started when they are not there. ARGS after `--` go to the
    provider unchanged, and its exit status is what this exits with.

    \b
    relay-agentd run claude
    relay-agentd run --label backend --cap review codex
    relay-agentd run --approval read-only claude -- --resume
    """
    from relay_agentd.launch import Launch, run_session

    return run_session(
        Launch(
            provider=provider,
            arguments=arguments,
            cwd=cwd or _current_folder(),
            machine=machine.here(_options(description)),
            autostart=not no_autostart,
        )
    )


def _current_folder() -> Path:
    """Raises: FolderMissing."""
    try:
        return Path.cwd()
    except OSError as error:
        raise FolderMissing(
            f"the current folder cannot be used: {error.strerror}. Change to one that exists, "
            "or name one with --cwd."
        ) from error


def _options(given: dict[str, Any]) -> dict[str, str | None]:
    """As texts of the settings they win over."""
    return {
        "approval": given["approval"],
        "label": given["label"],
        "tags": ",".join(given["tags"]) or None,
        "capabilities": ",".join(given["caps"]) or None,
        "channels": ",".join(given["channels"]) or None,
        "profile": given["profile"],
    }
