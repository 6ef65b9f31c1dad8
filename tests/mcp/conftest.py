"""A machine for the tests of clients that are sessions by themselves."""

from collections.abc import Iterator

import pytest

from tests.cli.machine import Machine


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A fresh machine with nothing running."""
    with Machine() as fresh:
        yield fresh


@pytest.fixture(scope="module")
def running() -> Iterator[Machine]:
    """A machine with relay and daemon up, shared by the tests of a module."""
    with Machine() as shared:
        up = shared.run("up")
        assert up.returncode == 0, up.stderr
        yield shared
