"""Every failure the API can show, with its stable code and HTTP status.

    RelayError
    ├── InvalidRequest 422   ├── BadSyntax 400   ├── UnsupportedMedia 415  ├── PayloadTooLarge 413
    ├── Unauthorized 401     ├── Forbidden 403   ├── WrongHost 421         ├── NotFound 404
    ├── MethodNotAllowed 405 ├── Conflict 409    ├── RateLimited 429       ├── Unavailable 503
    └── GatewayTimeout 504

`detail` and `extra` are shown to clients, so neither may hold SQL, a path or a secret.
`StartupError` is the other family: it ends the program with its exit code and one line.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple


class Code(NamedTuple):
    """A code's HTTP status, and what it means to a client."""

    status: int
    meaning: str


# Every code there is: what clients may rely on. A test compares it with what is raised.
CODES: Final[Mapping[str, Code]] = {
    "malformed_request": Code(400, "the body is no JSON, or the query cannot be read"),
    "unauthorized": Code(401, "no token, or a wrong one"),
    "forbidden": Code(403, "known, but not allowed; also a request from another origin"),
    "sender_forbidden": Code(403, "this token may not speak for that agent or machine"),
    "loosening_forbidden": Code(403, "this token may tighten an approval mode, not loosen it"),
    "target_forbidden": Code(403, "outside of the targets of this integration"),
    "channel_forbidden": Code(
        403, "outside of the channels of this integration; it must name one of them"
    ),
    "launch_disabled": Code(403, "the machine's owner lets no session be started there"),
    "launch_root_forbidden": Code(403, "the folder is not under one of the machine's launch roots"),
    "not_found": Code(404, "no such path"),
    "agent_not_found": Code(404, "no such agent; `suggestions` lists ids that look alike"),
    "message_not_found": Code(404, "no such message"),
    "machine_not_found": Code(404, "no such machine"),
    "stream_not_found": Code(404, "no such open stream"),
    "task_not_found": Code(404, "no such task"),
    "token_not_found": Code(404, "no such token"),
    "integration_not_found": Code(404, "no such integration"),
    "approval_not_found": Code(404, "no such approval"),
    "command_not_found": Code(404, "no such command"),
    "method_not_allowed": Code(
        405, "the path exists, the method does not; `Allow` lists those that do"
    ),
    "conflict": Code(409, "right in itself, but not in this state of things"),
    "already_claimed": Code(409, "another agent holds the claim; `claimedBy` says who"),
    "not_claimable": Code(409, "the message cannot be claimed, or its work is done"),
    "not_owner": Code(409, "only the agent that holds the claim may do this"),
    "invalid_transition": Code(409, "no way leads from the present state to that one"),
    "already_decided": Code(
        409, "the approval is answered, expired or canceled; `decision` and `decidedBy` say how"
    ),
    "stale_instance": Code(409, "a newer run of this agent has registered"),
    "payload_too_large": Code(413, "the request is larger than the limit"),
    "unsupported_media_type": Code(415, "the body is not declared as JSON"),
    "misdirected_request": Code(421, "the `Host` header names a server that this is not"),
    "invalid_request": Code(
        422, "a field is wrong, unknown or too long; `errors` lists field and message"
    ),
    "idempotency_mismatch": Code(422, "this idempotency key came with another body before"),
    "rate_limited": Code(
        429, "too many requests of one sender; `Retry-After` says when to come back"
    ),
    "internal_error": Code(500, "a fault of the relay; its log has the same `X-Request-Id`"),
    "store_unavailable": Code(
        503,
        "the database does not answer: locked by another program, or the disk fails;"
        " `Retry-After` says when to come back",
    ),
    "too_many_streams": Code(503, "`AGENT_RELAY_MAX_STREAMS` are open; poll instead"),
    "too_many_waits": Code(503, "too many requests are waiting already"),
    "machine_timeout": Code(504, "the machine that had to answer did not in time"),
}


class RelayError(Exception):
    """A failure a client may see."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    code: str = "internal_error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or type(self).code
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})


class BadSyntax(RelayError):
    """The body or the query cannot be parsed at all."""

    status, title, code = 400, "Malformed request", "malformed_request"


class InvalidRequest(RelayError):
    """A field is wrong, unknown or too long."""

    status, title, code = 422, "Invalid request", "invalid_request"

    @classmethod
    def of(cls, errors: Sequence[tuple[str, str]]) -> "InvalidRequest":
        """From (field, message) pairs."""
        listed = [{"field": field, "message": message} for field, message in errors]
        first = f"{errors[0][0]}: {errors[0][1]}"
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        return cls(first + more, extra={"errors": listed})


class Unauthorized(RelayError):
    """No token, or a wrong one."""

    status, title, code = 401, "Unauthorized", "unauthorized"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(RelayError):
    """Known, but not allowed."""

    status, title, code = 403, "Forbidden", "forbidden"


class WrongHost(RelayError):
    """The Host header names a server that this is not (DNS rebinding)."""

    status, title, code = 421, "Misdirected request", "misdirected_request"


class NotFound(RelayError):
    """The path or the thing it names does not exist."""

    status, title, code = 404, "Not found", "not_found"


class MethodNotAllowed(RelayError):
    """The path exists, the method does not."""

    status, title, code = 405, "Method not allowed", "method_not_allowed"


class Conflict(RelayError):
    """The request is right, but not in this state of things."""

    status, title, code = 409, "Conflict", "conflict"


class PayloadTooLarge(RelayError):
    """The request is larger than the limit."""

    status, title, code = 413, "Payload too large", "payload_too_large"


class UnsupportedMedia(RelayError):
    """The body is not JSON."""

    status, title, code = 415, "Unsupported media type", "unsupported_media_type"


class RateLimited(RelayError):
    """Too many requests of one sender."""

    status, title, code = 429, "Too many requests", "rate_limited"

    def __init__(self, detail: str, retry_after_seconds: int) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_seconds)})


class Unavailable(RelayError):
    """Cannot be done now; trying again later may work."""

    status, title = 503, "Unavailable"

    def __init__(self, detail: str, retry_after_seconds: int = 5, *, code: str) -> None:
        super().__init__(detail, code=code, headers={"Retry-After": str(retry_after_seconds)})


class GatewayTimeout(RelayError):
    """Whoever had to answer through us did not in time."""

    status, title, code = 504, "No answer in time", "machine_timeout"


class StartupError(Exception):
    """The server cannot start: one line for the person, and the exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class BadSettings(StartupError):
    """One or more settings are wrong; one line each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems), 2)


class StoreRefused(StartupError):
    """The database is corrupt, truncated, newer, read-only or locked."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 3)


class AlreadyTaken(StartupError):
    """The port or the database belongs to another process."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 4)
