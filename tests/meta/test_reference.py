"""The reference pages say what the code says."""

import jsonschema_rs
import pytest

from scripts.gen_reference import COMMAND, FOLDER, example_body, pages, published

PAGES = pages()


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_as_the_code_makes_it(name: str) -> None:
    page = FOLDER / name

    is_current = page.is_file() and page.read_text(encoding="utf-8") == PAGES[name]

    assert is_current, f"docs/reference/{name} is old; run: {COMMAND}"


def test_there_are_no_other_pages() -> None:
    assert {page.name for page in FOLDER.iterdir()} == set(PAGES)


def test_the_examples_bodies_are_what_their_calls_take() -> None:
    wrong = []
    for path, operations in published()["paths"].items():
        for method, operation in operations.items():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                validator = jsonschema_rs.Draft202012Validator(content["schema"])
                body = example_body(content["schema"])
                wrong += [(method, path, error.message) for error in validator.iter_errors(body)]

    assert wrong == []
