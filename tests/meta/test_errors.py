"""Every error code the server can answer with is declared, with the status it comes with."""

import ast
from collections.abc import Iterator

from relay_server import errors
from relay_server.errors import CODES, RelayError
from tests.meta.repository import tracked

Use = tuple[str, int | None]


def _classes(parent: type[RelayError] = RelayError) -> Iterator[type[RelayError]]:
    yield parent
    for child in parent.__subclasses__():
        yield from _classes(child)


STATUS_OF = {found.__name__: found.status for found in _classes()}


def _uses(tree: ast.Module) -> Iterator[Use]:
    """Each code that a class has or a call gives, with the status of that class."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=called), keywords=keywords):
                for keyword in keywords:
                    if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                        yield str(keyword.value.value), STATUS_OF.get(called)


def _used() -> set[Use]:
    by_classes = {(found.code, found.status) for found in _classes() if "code" in vars(found)}
    trees = [ast.parse(path.read_text()) for path in tracked("relay_server/*.py")]
    return by_classes | {use for tree in trees for use in _uses(tree)}


def test_the_declared_codes_are_those_that_are_used() -> None:
    assert sorted(CODES) == sorted({code for code, _ in _used()})


def test_a_code_has_the_status_of_what_raises_it() -> None:
    wrong = [
        (code, status)
        for code, status in _used()
        if status is not None and CODES[code].status != status
    ]

    assert wrong == []
    assert errors.InvalidRequest.status == 422
