"""How listings look: tables and colour in a terminal, tab-separated lines in a pipe, JSON on wish.

Everything printed passes `printable`: text written by other agents must not be able to move the
cursor, retitle the window or answer the terminal's queries.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from relay_agentd.printable import printable as printable  # noqa: PLC0414 - found here too

# What `printable` replaces; in JSON the C0 ones are escaped already.
_UNPRINTABLE_IN_JSON = re.compile(r"[\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

STATUS_STYLES = {"idle": "green", "busy": "yellow", "waiting": "magenta", "offline": "bright_black"}


def one_line(text: str) -> str:
    """`text` as one field of one line."""
    return re.sub(r"\s+", " ", printable(text)).strip()


def is_terminal() -> bool:
    """Does a person look at the output?"""
    return sys.stdout.isatty()


def print_json(value: Any, *, lines: bool = False) -> None:
    """`value` as JSON: indented for a person, one line for a pipe or when it is one of `lines`."""
    indent = 2 if is_terminal() and not lines else None
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    click.echo(_UNPRINTABLE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    styles: Mapping[str, Mapping[str, str]] | None = None,
    empty: str,
) -> None:
    """`rows` under `columns`; `styles` colours the values of a column. In a pipe: no heading, and
    nothing for no rows, so that every line is a row."""
    lines = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not is_terminal():
        for line in lines:
            click.echo("\t".join(one_line(cell) for cell in line))
    elif lines:
        _print_rich_table(columns, lines, styles or {})
    else:
        click.echo(empty)


def _print_rich_table(
    columns: Sequence[str], lines: list[list[str]], styles: Mapping[str, Mapping[str, str]]
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        # What a person copies (an id) is never cut; the last column takes what is left.
        table.add_column(column, overflow="fold", no_wrap=column == columns[0])
    for line in lines:
        cells = (
            Text(one_line(cell), style=styles.get(column, {}).get(cell, ""))
            for column, cell in zip(columns, line, strict=True)
        )
        table.add_row(*cells)
    Console(highlight=False).print(table)


def seen(time: str | None) -> str:
    """When something happened: how long ago for a person, the exact time in a pipe."""
    if time is None or not is_terminal():
        return time or ""
    return ago((datetime.now(UTC) - parse_time(time)).total_seconds())


def ago(seconds: float) -> str:
    """A duration up to now in the unit a person would use."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds)} s ago" if seconds >= 2 else "now"


def clock(time: str) -> str:
    """The time of day of `time` here, with the day when it is not today's."""
    local = parse_time(time).astimezone()
    today = local.date() == datetime.now(UTC).astimezone().date()
    return local.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S")


def parse_time(time: str) -> datetime:
    """A time of the API."""
    return datetime.fromisoformat(time)
