"""Writing answers."""

from typing import Any

import falcon

from relay_server.services.render import dumps


def send(response: falcon.Response, value: Any, status: int = 200) -> None:
    """A JSON answer."""
    response.status = status
    response.data = dumps(value)


def send_nothing(response: falcon.Response) -> None:
    """Done, and nothing to say."""
    response.status = 204
