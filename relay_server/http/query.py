"""Query strings: every parameter declared, checked, and described from the same definition.

Unknown names are refused like unknown fields; a blank value counts as absent.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from relay_server.errors import InvalidRequest
from relay_server.http.fields import Boolean, Choice, FieldError, Integer, Kind, Text, is_unstorable
from relay_server.wire import DEFAULT_LIST_LIMIT, MAX_LIST_LIMIT, MAX_WAIT_SECONDS

MAX_ID: Final = 2**53 - 1
_DIGITS: Final = re.compile(r"[0-9]{1,16}")
_SECONDS: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,6})?")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One name of a query string: how its text becomes a value, and what that must be."""

    kind: Kind
    read: Callable[[str], Any] = str
    is_list: bool = False
    is_required: bool = False
    default: Any = None
    about: str = ""
    may_be_blank: bool = True
    """Blank counts as absent; where that would mean something else, it is refused."""

    def parse(self, values: list[str]) -> Any:
        """Raises: FieldError."""
        if self.is_list:
            parts = [part for value in values for part in value.split(",") if part]
            return [self.kind.check(self.read(part)) for part in parts]
        if not values:
            return self.default
        if len(values) > 1:
            raise FieldError("is given more than once")
        return self.kind.check(self.read(values[0]))

    def describe(self, name: str) -> dict[str, Any]:
        """As an OpenAPI parameter."""
        schema = self.kind.describe()
        if not self.is_required and "pattern" in schema:
            # A blank one counts as absent.
            schema["pattern"] = f"^$|{schema['pattern']}"
        if self.is_list:
            schema = {"type": "array", "items": schema}
        if self.default is not None:
            schema["default"] = self.default
        described: dict[str, Any] = {
            "name": name,
            "in": "query",
            "required": self.is_required,
            "schema": schema,
        }
        if self.about:
            described["description"] = self.about
        return described


class Query:
    """The parameters of one operation."""

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        self.parameters = dict(parameters)

    def parse(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A value for every declared name. Raises: InvalidRequest with every error."""
        errors: list[tuple[str, str]] = [
            (name[:100], "is not a known parameter")
            for name in given
            if name not in self.parameters
        ]
        found: dict[str, Any] = {}
        for name, parameter in self.parameters.items():
            values = given.get(name, [])
            values = values if isinstance(values, list) else [values]
            if not parameter.may_be_blank and "" in values:
                errors.append((name, "must not be empty"))
                continue
            values = [value for value in values if value]
            if any(is_unstorable(value) or "\ufffd" in value for value in values):
                errors.append((name, "holds a character that cannot be stored"))
                continue
            try:
                found[name] = parameter.parse(values)
            except FieldError as error:
                errors.append((name, str(error)))
                continue
            if parameter.is_required and found[name] in (None, []):
                errors.append((name, "is required"))
        if errors:
            raise InvalidRequest.of(errors)
        return found


NO_QUERY: Final = Query({})


def text(longest: int = 500, *, is_required: bool = False, about: str = "") -> Parameter:
    """Any text."""
    return Parameter(Text(longest), is_required=is_required, about=about)


def naming(about: str) -> Parameter:
    """A text that changes what is asked for: a client with an empty variable must hear of it."""
    return Parameter(Text(500, 1), about=about, may_be_blank=False)


def of_kind(kind: Kind, *, is_required: bool = False, about: str = "") -> Parameter:
    """A text of a given kind."""
    return Parameter(kind, is_required=is_required, about=about)


def choice(words: Iterable[str], about: str = "") -> Parameter:
    """One of a few words."""
    return Parameter(Choice(tuple(words)), about=about)


def boolean(about: str = "") -> Parameter:
    """`true` or `false`."""
    return Parameter(Boolean(), read=_truth, about=about)


def integer(least: int, most: int, default: int | None = None, about: str = "") -> Parameter:
    """A whole number. Blank is none: the page promises a number."""
    return Parameter(
        Integer(least, most), read=_whole, default=default, about=about, may_be_blank=False
    )


def an_id(about: str = "") -> Parameter:
    """An id to compare with."""
    return integer(0, MAX_ID, about=about)


def limit() -> Parameter:
    """How many entries a list has at most."""
    return integer(1, MAX_LIST_LIMIT, DEFAULT_LIST_LIMIT, "how many at most")


def seconds(about: str) -> Parameter:
    """How long to wait; fractions are accepted."""
    return Parameter(_Seconds(), read=_number, about=about, may_be_blank=False)


def repeated(kind: Kind, about: str = "") -> Parameter:
    """May be given more than once; commas separate too."""
    return Parameter(kind, is_list=True, about=about)


class _Seconds:
    def check(self, value: Any) -> float:
        if not isinstance(value, float) or value > MAX_WAIT_SECONDS:
            raise FieldError(f"must be seconds, 0..{MAX_WAIT_SECONDS}")
        return value

    def describe(self) -> dict[str, Any]:
        return {"type": "number", "minimum": 0, "maximum": MAX_WAIT_SECONDS}


def _truth(value: str) -> bool | str:
    return {"true": True, "false": False}.get(value, value)


def _whole(value: str) -> int | str:
    return int(value) if _DIGITS.fullmatch(value) else value


def _number(value: str) -> float | str:
    return float(value) if _SECONDS.fullmatch(value) else value
