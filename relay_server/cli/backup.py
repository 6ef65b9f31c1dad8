"""`backup`, `restore`."""

from datetime import UTC, datetime
from pathlib import Path

import click

from relay_server.cli.common import database_option, failures_explained, load, merged, note


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace the file that is there.")
@database_option
@click.pass_context
def backup(context: click.Context, path: Path, force: bool, db: str | None) -> None:
    """Copy the whole database to PATH, also while the relay runs.

    Into a folder it goes under a name with the date. The copy is checked before it counts. It
    holds everything but the relay's own token and settings: keep it as safe as the database.

    \b
    Examples:
      relay-server backup ~/backups
      relay-server backup ./before-upgrade.db
    """
    from relay_server.store.backup import back_up

    with failures_explained():
        source = load(**merged(context, {"db": db})).database
        target = path / f"{source.stem}-{_stamp()}.db" if path.is_dir() else path
        if target.exists() and (not force or (source.exists() and target.samefile(source))):
            note(f"{target} is there already" + ("" if force else "; --force replaces it"))
            raise SystemExit(1)
        back_up(source, target, _tell)
        note(f"{target.stat().st_size:,} bytes, checked")
    click.echo(str(target))


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@database_option
@click.pass_context
def restore(context: click.Context, path: Path, db: str | None) -> None:
    """Put the backup at PATH in the place of the database, while no relay runs.

    The present database is kept beside it under a name with the date.

    \b
    Examples:
      relay-server restore ~/backups/relay-20261122T164100Z.db
      relay-server restore ./before-upgrade.db --db ./relay.db
    """
    from relay_server.store import backup as copies

    with failures_explained():
        database = load(**merged(context, {"db": db})).database
        kept = copies.restore(path, database, _stamp(), _tell)
    click.echo(str(database))
    if kept:
        note(f"the database that was here is now {kept}")
    note("tokens and integrations are those of the backup: what was revoked since is good again")
    note("start the relay: relay-server; the machines reconnect by themselves")


def _stamp() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def _tell(done: int, total: int) -> None:
    note(f"{done:,} of about {total:,} bytes ...")
