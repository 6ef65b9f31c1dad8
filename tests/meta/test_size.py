"""Files and functions stay small enough to be read in one go."""

import ast

from tests.meta.repository import ROOT, tracked

LINES_A_FILE = 400
LINES_A_FUNCTION = 60
EXEMPT = (":!tests", ":!dashboard/vendor", ":!*/migrations/*")


def test_no_file_is_longer_than_its_limit() -> None:
    too_long = {
        str(path.relative_to(ROOT)): count
        for path in tracked("*.py", "*.js", "*.css", *EXEMPT)
        if (count := len(path.read_text().splitlines())) > LINES_A_FILE
    }

    assert too_long == {}


def test_no_function_is_longer_than_its_limit() -> None:
    too_long = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": count
        for path in tracked("*.py", *EXEMPT)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (count := (node.end_lineno or 0) - node.lineno + 1) > LINES_A_FUNCTION
    }

    assert too_long == {}


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in tracked("*.py")
        if path.read_text().strip() and ast.get_docstring(ast.parse(path.read_text())) is None
    ]

    assert silent == []
