"""Kinds of fields: each checks a value and can describe itself as JSON Schema.

One definition validates requests and writes the OpenAPI page, so that they cannot drift.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from relay_server.clock import from_rfc3339
from relay_server.errors import InvalidRequest

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class FieldError(ValueError):
    """Says what is accepted."""


class Kind(Protocol):
    """One kind of value."""

    def check(self, value: Any) -> Any:
        """The value to work with. Raises: FieldError."""
        ...

    def describe(self) -> dict[str, Any]:
        """Its JSON Schema."""
        ...


@dataclass(frozen=True, slots=True)
class Text:
    """A string; the limit is in characters, or in UTF-8 bytes for bodies."""

    longest: int
    shortest: int = 0
    in_bytes: bool = False

    def check(self, value: Any) -> str:
        if not isinstance(value, str):
            raise FieldError("must be a string")
        if len(value) < self.shortest:
            raise FieldError("must not be empty")
        # Cheap first: only long texts with other than ASCII characters need encoding.
        size = len(value)
        if self.in_bytes and size * 4 > self.longest and not value.isascii():
            size = len(value.encode())
        if size > self.longest:
            unit = "bytes" if self.in_bytes else "characters"
            raise FieldError(f"must not be longer than {self.longest} {unit}")
        return value

    def describe(self) -> dict[str, Any]:
        return {"type": "string", "minLength": self.shortest, "maxLength": self.longest}


@dataclass(frozen=True, slots=True)
class Pattern:
    """A string of a fixed form."""

    form: re.Pattern[str]
    meaning: str

    def check(self, value: Any) -> str:
        if not isinstance(value, str) or not self.form.fullmatch(value):
            raise FieldError(f"must be {self.meaning}")
        return value

    def describe(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^(?:{self.form.pattern})$"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    def check(self, value: Any) -> str:
        if not isinstance(value, str) or value not in self.words:
            raise FieldError(f"must be one of {', '.join(self.words)}")
        return value

    def describe(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.words)}


@dataclass(frozen=True, slots=True)
class Moment:
    """A time of RFC 3339."""

    def check(self, value: Any) -> str:
        try:
            if isinstance(value, str):
                from_rfc3339(value)
                return value
        except ValueError:
            pass
        raise FieldError("must be a time as 2026-11-22T16:41:00.123Z")

    def describe(self) -> dict[str, Any]:
        return {"type": "string", "format": "date-time"}


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number in a range."""

    least: int
    most: int

    def check(self, value: Any) -> int:
        if isinstance(value, float) and value.is_integer():
            # JSON knows only numbers, and some write 7.0 for 7.
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise FieldError("must be an integer")
        if not self.least <= value <= self.most:
            raise FieldError(f"must be {self.least}..{self.most}")
        return value

    def describe(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class Boolean:
    """true or false."""

    def check(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise FieldError("must be true or false")
        return value

    def describe(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class AnyJson:
    """Whatever JSON there is, kept verbatim."""

    only_objects: bool = False

    def check(self, value: Any) -> Any:
        if self.only_objects and not isinstance(value, dict):
            raise FieldError("must be an object")
        try:
            # An exponent may have made an infinity, which no JSON can carry on.
            json.dumps(value, allow_nan=False)
        except (ValueError, RecursionError):
            raise FieldError("holds a number that JSON cannot express") from None
        return value

    def describe(self) -> dict[str, Any]:
        return {"type": "object"} if self.only_objects else {}


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of one kind."""

    kind: Kind
    most: int

    def check(self, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise FieldError("must be a list")
        if len(value) > self.most:
            raise FieldError(f"must not have more than {self.most} entries")
        checked = []
        for number, item in enumerate(value):
            try:
                checked.append(self.kind.check(item))
            except FieldError as error:
                raise FieldError(f"entry {number} {error}") from None
        return checked

    def describe(self) -> dict[str, Any]:
        return {"type": "array", "items": self.kind.describe(), "maxItems": self.most}


@dataclass(frozen=True, slots=True)
class Either:
    """The first kind that accepts the value."""

    kinds: Sequence[Kind]
    meaning: str

    def check(self, value: Any) -> Any:
        for kind in self.kinds:
            try:
                return kind.check(value)
            except FieldError:
                continue
        raise FieldError(f"must be {self.meaning}")

    def describe(self) -> dict[str, Any]:
        return {"anyOf": [kind.describe() for kind in self.kinds]}


@dataclass(frozen=True, slots=True)
class Field:
    """A kind, and whether it must be there and may be null."""

    kind: Kind
    is_required: bool = False
    is_nullable: bool = True


def is_unstorable(value: Any) -> bool:
    """Whether a NUL or half a surrogate pair is anywhere in it. Not recursive: it may be deep."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            if "\0" in item or _SURROGATE.search(item) is not None:
                return True
        elif isinstance(item, dict):
            pending += item.keys()
            pending += item.values()
        elif isinstance(item, list):
            pending += item
    return False


def nullable(schema: dict[str, Any]) -> dict[str, Any]:
    """The same JSON Schema, or null."""
    if "enum" in schema:
        return {"enum": [*schema["enum"], None]}
    kind = schema.get("type")
    if isinstance(kind, str):
        return {**schema, "type": [kind, "null"]}
    return {"anyOf": [schema, {"type": "null"}]} if schema else schema


class Schema:
    """An object with known fields; itself a kind."""

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self.fields = dict(fields)
        self._required = tuple(name for name, field in fields.items() if field.is_required)

    def parse(self, document: Any) -> dict[str, Any]:
        """The checked fields that were given. Raises: InvalidRequest with every error."""
        if not isinstance(document, dict):
            raise InvalidRequest.of([("", "the body must be a JSON object")])
        values, errors = self._checked(document)
        if errors:
            raise InvalidRequest.of(errors)
        return values

    def check(self, value: Any) -> dict[str, Any]:
        """As an entry of a list."""
        if not isinstance(value, dict):
            raise FieldError("must be an object")
        values, errors = self._checked(value)
        if errors:
            raise FieldError("; ".join(f"{name} {message}" for name, message in errors))
        return values

    def _checked(self, document: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        values: dict[str, Any] = {}
        errors: list[tuple[str, str]] = []
        fields = self.fields
        for name, value in document.items():
            field = fields.get(name)
            if field is None:
                errors.append((name[:100], "is not a known field"))
            elif value is None:
                if field.is_nullable:
                    values[name] = None
                else:
                    errors.append((name, "must not be null"))
            else:
                try:
                    values[name] = field.kind.check(value)
                except FieldError as error:
                    errors.append((name, str(error)))
        errors.extend((name, "is required") for name in self._required if name not in document)
        return values, errors

    def describe(self) -> dict[str, Any]:
        """Its JSON Schema."""
        return {
            "type": "object",
            "properties": {
                name: nullable(field.kind.describe())
                if field.is_nullable
                else field.kind.describe()
                for name, field in self.fields.items()
            },
            "required": list(self._required),
            "additionalProperties": False,
        }


class ForeignObject(Schema):
    """An object of somebody else's format: with whatever fields, checked by who maps it."""

    def __init__(self) -> None:
        super().__init__({})

    def parse(self, document: Any) -> dict[str, Any]:
        if not isinstance(document, dict):
            raise InvalidRequest.of([("", "the body must be a JSON object")])
        return document

    def describe(self) -> dict[str, Any]:
        return {"type": "object"}
