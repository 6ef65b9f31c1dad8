"""Every failure becomes RFC 9457 here, and nowhere else; unexpected ones are logged, once."""

import logging
from typing import Any

import falcon

from relay_server.errors import RelayError
from relay_server.services.render import dumps

_log = logging.getLogger(__name__)

# falcon's own failures, by status: what the contract calls them.
_CODES = {
    400: ("malformed_request", "Malformed request"),
    404: ("not_found", "Not found"),
    405: ("method_not_allowed", "Method not allowed"),
    413: ("payload_too_large", "Payload too large"),
    415: ("unsupported_media_type", "Unsupported media type"),
}


def problem(status: int, title: str, detail: str, code: str, **extra: Any) -> bytes:
    """The problem object."""
    members = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return dumps({**members, "code": code, **extra})


def install(app: falcon.App[falcon.Request, falcon.Response]) -> None:
    """Make every failure of the application a problem."""
    app.add_error_handler(Exception, _unexpected)
    app.add_error_handler(falcon.HTTPError, _http_error)
    app.add_error_handler(RelayError, _relay_error)


def _answer(response: falcon.Response, status: int, data: bytes) -> None:
    response.status = status
    response.content_type = "application/problem+json"
    response.stream = None
    response.data = data


def _relay_error(
    request: falcon.Request, response: falcon.Response, error: RelayError, params: Any
) -> None:
    del request, params
    data = problem(error.status, error.title, error.detail, error.code, **error.extra)
    _answer(response, error.status, data)
    for name, value in error.headers.items():
        response.set_header(name, value)


def _http_error(
    request: falcon.Request, response: falcon.Response, error: falcon.HTTPError, params: Any
) -> None:
    del request, params
    # falcon has no other failures for what we use of it; if it ever does, it is a client's mistake.
    status = error.status_code if error.status_code in _CODES else 400
    code, title = _CODES[status]
    data = problem(status, title, f"{title}.", code)
    _answer(response, status, data)
    for name, value in dict(error.headers or {}).items():
        # falcon counts OPTIONS as always allowed; here it is not a call.
        response.set_header(name, value.replace(", OPTIONS", "") if name == "Allow" else value)


def _unexpected(
    request: falcon.Request, response: falcon.Response, error: Exception, params: Any
) -> None:
    del params
    _log.error("%s %s failed", request.method, request.uri_template, exc_info=error)
    data = problem(500, "Internal error", "The server failed; its log says why.", "internal_error")
    _answer(response, 500, data)
