"""How listings look: tables and colour in a terminal, tab-separated lines in a pipe, JSON on wish.

Everything printed passes `printable`: text written by other agents must not be able to move the
cursor, retitle the window or answer the terminal's queries. Nothing but results goes to stdout:
`progress` shows on stderr, and only to a person.
"""

import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Timer
from typing import Any, Final

import click

from relay_launchers.untrusted import UNSEEN, visible

STATUS_STYLES = {"idle": "green", "busy": "yellow", "waiting": "magenta", "offline": "bright_black"}

_SLOW_SECONDS: Final = 1.0
_GAP: Final = 2
_LEAST: Final = 24
"""Of a column of words: narrower ones are hard to read."""
_LONGEST_WORD: Final = 24
"""Of a path or an address, which may be folded: it is nothing to type."""

_UNBROKEN: Final = "\N{NO-BREAK SPACE}"

_NOT_IN_JSON = re.compile(f"{UNSEEN.pattern}|[\u2028\u2029]")

printable = visible
"""Text with what would act on the terminal, or act unseen, written out instead."""


def one_line(text: str) -> str:
    """`text` as one field of one line."""
    return re.sub(r"\s+", " ", printable(text)).strip()


def wrapped(text: str, *, indent: int = 0, stream: Any = None) -> str:
    """`text` broken between words for a window, all lines but the first `indent` columns in; as it
    is for a pipe. A command in backticks is not broken, so that it can be copied."""
    if not (stream or sys.stdout).isatty():
        return text
    lines = textwrap.wrap(
        re.sub(r"`[^`]+`", lambda command: command[0].replace(" ", _UNBROKEN), text),
        max(shutil.get_terminal_size().columns, indent + _LEAST),
        subsequent_indent=" " * indent,
        replace_whitespace=False,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines).replace(_UNBROKEN, " ")


def wants_colour(stream: Any = None) -> bool:
    """Does a person look at it, in a terminal that has colours, and has not said no?"""
    is_dumb = os.environ.get("TERM") == "dumb" or bool(os.environ.get("NO_COLOR"))
    return bool((stream or sys.stdout).isatty()) and not is_dumb


def is_terminal() -> bool:
    """Does a person look at the output?"""
    return sys.stdout.isatty()


def print_json(value: Any, *, lines: bool = False) -> None:
    """`value` as JSON: indented for a person, one line for a pipe or when it is one of `lines`."""
    indent = 2 if is_terminal() and not lines else None
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    click.echo(_NOT_IN_JSON.sub(_escaped, text))


def _escaped(run: "re.Match[str]") -> str:
    """As JSON spells it, so that who reads it gets the same text."""
    units = run[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    styles: Mapping[str, Mapping[str, str]] | None = None,
    keep: Collection[str] = (),
    empty: str,
) -> None:
    """`rows` under `columns`; `styles` colours the values of a column. In a window too narrow for
    all of them the last columns are left out, those to `keep` after all others. In a pipe: no
    heading, and nothing for no rows, so that every line is a row."""
    lines = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not is_terminal():
        for line in lines:
            click.echo("\t".join(one_line(cell) for cell in line))
    elif lines:
        _print_rich_table(columns, lines, styles or {}, keep)
    else:
        click.echo(empty)


def _print_rich_table(
    columns: Sequence[str],
    lines: list[list[str]],
    styles: Mapping[str, Mapping[str, str]],
    keep: Collection[str],
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    cells = [[one_line(cell) for cell in line] for line in lines]
    shown, widths = _fit(columns, cells, console.width, keep)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
    for index, width in zip(shown, widths, strict=True):
        table.add_column(columns[index], width=width, overflow="fold")
    for line, raw in zip(cells, lines, strict=True):
        table.add_row(
            *(
                Text(line[index], style=styles.get(columns[index], {}).get(raw[index], ""))
                for index in shown
            )
        )
    # An id that is wider than the window is left to the window to wrap.
    console.print(table, width=max(console.width, sum(widths) + _GAP * len(widths)), crop=False)
    hidden = [
        name
        for index, name in enumerate(columns)
        if index not in shown and any(line[index] for line in cells)
    ]
    if hidden:
        hint = f"(a wider window or --json also shows {', '.join(hidden)})"
        click.secho(wrapped(hint), dim=True)


def _fit(
    columns: Sequence[str], cells: list[list[str]], width: int, keep: Collection[str]
) -> tuple[list[int], list[int]]:
    """Which columns to show, and how wide each: empty ones go, then the last ones until the words
    of all others fit. Words, and with them ids, are never broken."""
    from rich.cells import cell_len

    texts = [[name, *(line[index] for line in cells)] for index, name in enumerate(columns)]
    natural = [max(map(cell_len, text)) for text in texts]
    least = [
        max(_least(word, cell_len(word)) for cell in text for word in cell.split() or [""])
        for text in texts
    ]
    least = [
        max(few, min(all_of_it, _LEAST)) for few, all_of_it in zip(least, natural, strict=True)
    ]
    shown = [i for i in range(len(columns)) if i < 2 or any(texts[i][1:])]
    least[0] = natural[0]
    while len(shown) > 2 and sum(least[i] + _GAP for i in shown) - _GAP > width:
        last = [i for i in shown[1:] if columns[i] not in keep] or shown
        shown.remove(last[-1])
    widths = [natural[i] for i in shown]
    while sum(widths) + _GAP * (len(shown) - 1) > width:
        slack = [have - least[i] for i, have in zip(shown, widths, strict=True)]
        widest = max(range(len(shown)), key=lambda at: (slack[at] > 0) * widths[at])
        if slack[widest] <= 0:
            break
        widths[widest] -= 1
    return shown, widths


def _least(word: str, width: int) -> int:
    return min(width, _LONGEST_WORD) if "/" in word else width


@contextmanager
def progress(what: str) -> Iterator[None]:
    """While something goes on: after a second a person sees a spinner that says what."""
    if not wants_colour(sys.stderr):
        yield
        return
    from rich.console import Console

    status = Console(stderr=True).status(f"{what} ...")
    timer = Timer(_SLOW_SECONDS, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()


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
