"""The environment of everything a session starts.

Owns which of our variables a provider's processes see. The person's own variables stay as they
are; the relay's token is the one thing taken away, because a model's shell could print it and
every tool of ours reaches the relay through the daemon instead. Pure.
"""

from collections.abc import Mapping

from relay_launchers.base import (
    CONTROL_VARIABLE,
    FOLDER_VARIABLE,
    SESSION_VARIABLE,
    LaunchRequest,
)

TOKEN_VARIABLE = "AGENT_RELAY_TOKEN"  # noqa: S105 - a variable's name, not a token


def session_marks(request: LaunchRequest) -> dict[str, str]:
    """The two variables by which our hooks and pipes find their session and the daemon."""
    return {
        SESSION_VARIABLE: request.session_key,
        CONTROL_VARIABLE: str(request.control_socket),
    }


def session_environment(request: LaunchRequest) -> Mapping[str, str]:
    """The person's environment, without the relay's token, with the session's marks."""
    kept = {name: value for name, value in request.environment.items() if name != TOKEN_VARIABLE}
    return {**kept, **session_marks(request), FOLDER_VARIABLE: str(request.folder)}


def without_session(environment: Mapping[str, str]) -> dict[str, str]:
    """The person's environment without the relay's token and without a session around us."""
    marks = (TOKEN_VARIABLE, SESSION_VARIABLE, CONTROL_VARIABLE, FOLDER_VARIABLE)
    return {name: value for name, value in environment.items() if name not in marks}
