"""Every error code the server can answer with is documented, and every documented one exists."""

import ast
import re
from collections.abc import Iterator

from tests.meta.repository import ROOT, tracked


def test_the_documented_codes_are_those_of_the_server() -> None:
    used = {
        code
        for path in tracked("relay_server/*.py")
        for code in _codes(ast.parse(path.read_text()))
    }

    documented = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/errors.md").read_text(), re.MULTILINE)

    assert sorted(documented) == sorted(used)


def _codes(tree: ast.Module) -> Iterator[str]:
    """The words given as `code=` in a call, or assigned to `code` in a class."""
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg="code", value=ast.Constant(value=str(word))):
                yield word
            case ast.ClassDef(body=body):
                yield from (word for statement in body for word in _assigned(statement))


def _assigned(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.AnnAssign(target=ast.Name(id="code"), value=ast.Constant(value=str(word))):
            yield word
        case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
            for name, value in zip(names, values, strict=True):
                if isinstance(name, ast.Name) and name.id == "code":
                    assert isinstance(value, ast.Constant)
                    yield str(value.value)
