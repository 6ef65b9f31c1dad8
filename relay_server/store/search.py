"""Lists of messages or tasks, newest first, by exact columns and by full text.

The messages' text index follows the messages, up to a durable mark in `counters`: who sends does
not wait for it. `services.indexer` moves the mark; rows that go take their text out by a trigger.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from relay_server.store.database import Reader, Row, Transaction

TABLE: Final = "messages_search"
# The counter: everything up to this id is in the index.
INDEXED: Final = "messages_search"

# A column with fewer rows than this is asked for its ids, and those are compared with what the
# text index finds: ten times as quick as looking at each row that has the words.
_NARROW: Final = 3_000
# Of several columns, one with so few rows is as good as any.
_FEW: Final = 1_000
# Tokenizing costs a millisecond for each 30 KB or so, and the writer lock is held meanwhile.
_MOST_CHARACTERS: Final = 64 * 1024

# More find hardly less, and each may be in every message.
_MOST_PIECES: Final = 16

_PIECE: Final = re.compile(r'"([^"]*)"|([^\s"]+)')
_LAST_WORD: Final = re.compile(r"[^\W_]+(?=[\W_]*$)")


class Listing(NamedTuple):
    """What is asked for. `equal`: columns and their values, a bool for a flag; `among`: columns
    and the values that the asker may see."""

    equal: Mapping[str, str | int | bool]
    limit: int
    text: str | None = None
    before: int | None = None
    after: int | None = None
    among: Mapping[str, Sequence[str]] = {}


# -- the index


def indexed_up_to(reader: Reader) -> int:
    """The newest message that can be found by its text."""
    row = reader.one("SELECT value FROM counters WHERE name = ?", (INDEXED,))
    return int(row[0]) if row else 0


def index_more(transaction: Transaction, most: int, newest: int) -> bool:
    """Put up to `most` more messages into the index; whether it has not reached `newest` yet."""
    mark = indexed_up_to(transaction)
    if mark >= newest:
        return False
    rows = transaction.all(
        "SELECT id, length(body) FROM messages WHERE id > ? ORDER BY id LIMIT ?", (mark, most)
    )
    # The ids that are missing behind the last row are of removed ones.
    last = newest if len(rows) < most else int(rows[-1][0])
    characters = 0
    for message_id, length in rows:
        characters += length
        if characters > _MOST_CHARACTERS:
            last = int(message_id)
            break
    transaction.run(
        f"INSERT INTO {TABLE} (rowid, subject, body)"
        " SELECT id, subject, body FROM messages WHERE id > ? AND id <= ?",
        (mark, last),
    )
    transaction.run("UPDATE counters SET value = ? WHERE name = ?", (last, INDEXED))
    return last < newest


# -- asking


def expression(text: str) -> str:
    """What people type, as a query of the text index.

    Each word is the beginning of one, a quoted part a phrase, and all of them must be there.
    Signs that are not part of words are nothing to look for. Everything is quoted, so nothing
    of the index' own language gets through.
    """
    # A NUL would end the query early; half a surrogate pair is no text.
    clean = text.replace("\0", " ").encode("utf-8", "replace").decode()
    pieces = dict.fromkeys(
        f'"{phrase}"' if phrase else _beginning(word) for phrase, word in _PIECE.findall(clean)
    )
    return " ".join(list(pieces)[:_MOST_PIECES])


def _beginning(word: str) -> str:
    # One letter alone begins a tenth of all words: it is taken as a whole word.
    last = _LAST_WORD.search(word)
    is_letter = last is not None and last[0].isascii() and len(last[0]) == 1
    return f'"{word}"' if is_letter else f'"{word}"*'


def newest_first(reader: Reader, table: str, fields: str, wanted: Listing) -> list[Row]:
    """Rows of `messages` or `tasks`; `fields` are of the alias `m`."""
    if wanted.text is None:
        return _by_columns(reader, table, fields, wanted)
    return _by_text(reader, table, fields, wanted, expression(wanted.text))


def _by_columns(reader: Reader, table: str, fields: str, wanted: Listing) -> list[Row]:
    """Along the index of the column with the fewest rows."""
    rows = dict.fromkeys(wanted.equal, 0)
    if len(rows) > 1:
        rows = {c: _rows_of(reader, table, c, v, _FEW) for c, v in wanted.equal.items()}
    leading = min(rows, key=lambda column: rows[column]) if rows else None
    conditions, values = _range("m.id", wanted)
    for column, value in wanted.equal.items():
        # A plus keeps SQLite from taking that column's index.
        name = f"m.{column}" if column == leading else f"+m.{column}"
        conditions.append(_equals(name, value, values))
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    sql = f"SELECT {fields} FROM {table} m{where} ORDER BY m.id DESC LIMIT ?"
    return reader.all(sql, [*values, wanted.limit])


def _by_text(reader: Reader, table: str, fields: str, wanted: Listing, query: str) -> list[Row]:
    """Along the text index, from its newest row."""
    if not query:
        return []
    conditions, values = _range("s.rowid", wanted)
    for column, value in wanted.equal.items():
        if _rows_of(reader, table, column, value, _NARROW) < _NARROW:
            inner = _equals(column, value, values)
            # With the plus the text index is read once, not once for each of the ids.
            conditions.append(f"+s.rowid IN (SELECT id FROM {table} WHERE {inner})")
        else:
            conditions.append(_equals(f"+m.{column}", value, values))
    sql = (
        f"SELECT {fields} FROM {table}_search s CROSS JOIN {table} m ON m.id = s.rowid"
        f" WHERE {' AND '.join([f's.{table}_search MATCH ?', *conditions])}"
        " ORDER BY s.rowid DESC LIMIT ?"
    )
    return reader.all(sql, [query, *values, wanted.limit])


def _range(column: str, wanted: Listing) -> tuple[list[str], list[Any]]:
    conditions, values = list[str](), list[Any]()
    for name, allowed in wanted.among.items():
        conditions.append(f"+m.{name} IN ({', '.join('?' * len(allowed))})")
        values += allowed
    if wanted.before is not None:
        conditions.append(f"{column} < ?")
        values.append(wanted.before)
    if wanted.after is not None:
        conditions.append(f"{column} > ?")
        values.append(wanted.after)
    return conditions, values


def _equals(column: str, value: str | int | bool, values: list[Any]) -> str:
    if isinstance(value, bool):
        # Spelled out: a partial index is not found for a parameter.
        return f"{column} = {int(value)}"
    values.append(value)
    return f"{column} = ?"


def _rows_of(reader: Reader, table: str, column: str, value: str | int | bool, most: int) -> int:
    """How many, counted no further than `most`. Only a flag that is set has an index."""
    if value is False:
        return most
    values: list[Any] = []
    condition = _equals(column, value, values)
    row = reader.one(
        f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {condition} LIMIT {most})", values
    )
    assert row is not None
    return int(row[0])
