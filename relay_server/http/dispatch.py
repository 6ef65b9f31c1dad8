"""Carries declared operations out: from falcon's request to a `Call`, from a `Reply` to the answer.

The order of refusals: who calls and whether he may (401 and 403 come from the gate and from here),
then the path (404), the query (422), the body (400, 413, 415, 422), and only then the handler.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import falcon

from relay_server.domain.access import Principal
from relay_server.errors import Forbidden, NotFound, Unauthorized
from relay_server.http import request as requests
from relay_server.http.fields import FieldError, Integer
from relay_server.http.gate import PRINCIPAL, WAITS
from relay_server.http.operation import Call, Operation, Reply, Speaker
from relay_server.services.access import Access
from relay_server.services.idempotency import IdempotencyService
from relay_server.services.render import dumps
from relay_server.services.voices import Voices
from relay_server.wire import REPLAYED_HEADER, IntegrationScope

Responder = Callable[..., None]
_LONGEST_SHOWN: Final = 40


class Dispatcher:
    """Makes falcon's responders. Stateless but for its services."""

    def __init__(self, access: Access, voices: Voices, idempotency: IdempotencyService) -> None:
        self._access = access
        self._voices = voices
        self._idempotency = idempotency

    def install(
        self,
        app: falcon.App[falcon.Request, falcon.Response],
        operations: Iterable[Operation],
    ) -> None:
        """Route them all."""
        by_path: dict[str, list[Operation]] = defaultdict(list)
        for operation in operations:
            by_path[operation.path].append(operation)
        for path, found in by_path.items():
            responders = {f"on_{o.method.lower()}": self._responder(o) for o in found}
            app.add_route(
                path, type("Path", (), {n: staticmethod(r) for n, r in responders.items()})()
            )

    def _responder(self, operation: Operation) -> Responder:
        def respond(request: falcon.Request, response: falcon.Response, **path: Any) -> None:
            call = self._call(operation, request, path)
            if operation.is_creating and not operation.has_own_idempotency:
                self._once(operation, call, response)
            else:
                reply = operation.handler(call)
                if WAITS in request.env and not self._access.is_good(call.principal):
                    raise Unauthorized("The token was revoked or has expired meanwhile.")
                _write(response, reply)

        return respond

    # -- from the request

    def _call(self, operation: Operation, request: falcon.Request, path: Mapping[str, str]) -> Call:
        env = request.env
        principal: Principal = env[PRINCIPAL]
        if not principal.is_admin:
            _check_allowed(operation, principal)
        if operation.path_kinds:
            path = _checked_path(operation, path)
        query = _query(operation, request)
        if operation.is_waiting or query.get("wait"):
            env[WAITS] = True
        body, raw = requests.NO_BODY, b""
        if operation.is_raw:
            raw = requests.raw_of(request)
        else:
            body = requests.body_of(request, operation.body)
        key = None
        if operation.is_creating:
            key = requests.idempotency_key(request, body.get("idempotencyKey"))
        if operation.speaker is not Speaker.NOBODY and not principal.is_admin:
            self._check_speaker(operation.speaker, principal, path, body)
        return Call(
            principal=principal,
            path=path,
            query=query,
            body=body,
            # Read as WSGI spells it: falcon's own lookup costs a tenth of a whole POST.
            instance=env.get("HTTP_X_AGENT_INSTANCE"),
            key=key,
            is_gone=self._is_gone(principal, env.get("waitress.client_disconnected", _stays)),
            cut=env.get("relay.cut", _nothing),
            header=request.get_header,
            raw=raw,
        )

    def _is_gone(self, principal: Principal, has_left: Callable[[], bool]) -> Callable[[], bool]:
        """Whether nobody may hear more of what stays open: the client left, or lost its token."""
        if principal.token_id is None:
            return has_left
        return lambda: has_left() or not self._access.is_good(principal)

    def _check_speaker(
        self,
        speaker: Speaker,
        principal: Principal,
        path: Mapping[str, Any],
        body: Mapping[str, Any],
    ) -> None:
        agent_id = path["agentId"] if speaker is Speaker.PATH else body.get(speaker.value)
        if agent_id is not None:
            self._voices.require(principal, [agent_id])

    # -- idempotency

    def _once(self, operation: Operation, call: Call, response: falcon.Response) -> None:
        reply: list[Reply] = []

        def create() -> tuple[int, object]:
            reply.append(operation.handler(call))
            return reply[0].status, reply[0].value

        outcome = self._idempotency.once(
            operation.name,
            _sender(operation, call),
            call.key,
            _identity(call),
            create,
            is_secret=operation.is_secret,
        )
        response.status = outcome.status
        response.data = outcome.body
        if outcome.is_replay:
            response.set_header(REPLAYED_HEADER, "true")


def _check_allowed(operation: Operation, principal: Principal) -> None:
    if operation.is_public:
        return
    if principal.scope is not None:
        if principal.scope in operation.allowed:
            return
        raise Forbidden(f"A token of scope {principal.scope} may not do this.")
    if principal.integration is None:
        # The gate took the path for one that needs no token: whatever the reason, this one does.
        raise Unauthorized("A token is needed.")
    if principal.integration.scopes & operation.allowed:
        return
    needed = [word for word in IntegrationScope if word in operation.allowed]
    more = f"; it needs the scope {needed[0]}" if needed else ""
    raise Forbidden(f"The integration {principal.name} may not do this{more}.")


def _checked_path(operation: Operation, path: Mapping[str, str]) -> dict[str, Any]:
    """Raises: NotFound for what can be nobody's id."""
    checked: dict[str, Any] = {}
    for name, text in path.items():
        kind = operation.path_kinds.get(name)
        value: Any = requests.path_id(text) if isinstance(kind, Integer) else text
        try:
            checked[name] = value if kind is None else kind.check(value)
        except FieldError:
            thing = operation.missing.removesuffix("_not_found")
            raise NotFound(
                f"There is no {thing} {text[:_LONGEST_SHOWN]}.", code=operation.missing
            ) from None
    return checked


def _query(operation: Operation, request: falcon.Request) -> Mapping[str, Any]:
    if operation.query is None:
        return {}
    if not operation.query.parameters and not request.query_string:
        return {}
    return operation.query.parse(request.params)


def _sender(operation: Operation, call: Call) -> str:
    """Whose key it is: keys of different callers never meet."""
    spoken = "" if operation.speaker is Speaker.PATH else call.body.get(operation.speaker.value)
    return str(spoken or call.principal.key)


def _identity(call: Call) -> Mapping[str, Any]:
    """What makes two requests the same."""
    around = {**call.path, **{n: v for n, v in call.query.items() if v is not None}}
    return {"": around, **call.body} if around else call.body


# -- to the answer


def _write(response: falcon.Response, reply: Reply) -> None:
    response.status = reply.status
    if reply.frames is not None:
        _stream(response, reply)
    elif reply.rendered is not None:
        response.data = reply.rendered
    elif reply.status != 204:
        response.data = dumps(reply.value)
    if reply.content_type is not None:
        response.content_type = reply.content_type
    for name, value in reply.headers.items():
        response.append_header(name, value)


def _stream(response: falcon.Response, reply: Reply) -> None:
    assert reply.frames is not None
    response.cache_control = ["no-store"]
    # nginx buffers streams unless told not to.
    response.set_header("X-Accel-Buffering", "no")
    response.stream = _Frames(reply.frames, reply.on_end)


class _Frames:
    """An iterator whose `close` always gives the place back, even if it was never started."""

    def __init__(self, frames: Iterator[bytes], on_end: Callable[[], None]) -> None:
        self._frames = frames
        self._on_end = on_end
        self._is_open = True

    def __iter__(self) -> Iterator[bytes]:
        return self._frames

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._on_end()


def _stays() -> bool:
    return False


def _nothing() -> None:
    return None
