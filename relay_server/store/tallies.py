"""How many there are of what is too much to count; the schema's triggers keep the numbers."""

from enum import StrEnum

from relay_server.store.database import Reader


def value(reader: Reader, name: str) -> int:
    """One number."""
    row = reader.one("SELECT value FROM tallies WHERE name = ?", (name,))
    return int(row[0]) if row else 0


def by_word(reader: Reader, table: str, words: type[StrEnum]) -> dict[str, int]:
    """How many rows of a table are in each status, also in those that none is in."""
    return {word.value: value(reader, f"{table}.{word}") for word in words}
