"""/api/messages, /api/route."""

from typing import Any, Final

from falcon import Request, Response

from relay_server.errors import InvalidRequest
from relay_server.http import request as requests
from relay_server.http import schemas
from relay_server.http.answer import send, send_nothing
from relay_server.services.claims import ClaimService
from relay_server.services.explain import ExplainService
from relay_server.services.reading import InboxQuery, ReadingService
from relay_server.services.receipts import ReceiptService
from relay_server.services.sending import Sender, message_not_found, parse_to
from relay_server.wire import REPLAYED_HEADER, ReceiptState

_INBOX: Final = ("for", "since", "sinceId", "limit", "channel", "unread", "wait")
_SEARCH: Final = (
    *("from", "to", "thread", "channel", "q", "claimable"),
    *("before", "after", "limit"),
)
_DEFAULT_LEASE_SECONDS: Final = 900


def _id(text: str) -> int:
    """Raises: NotFound."""
    number = requests.path_id(text)
    if number is None:
        raise message_not_found(text[:40])
    return number


class Messages:
    """Sending, an inbox, everyone's."""

    def __init__(self, sender: Sender, reading: ReadingService) -> None:
        self._sender = sender
        self._reading = reading

    def on_post(self, request: Request, response: Response) -> None:
        given = requests.body(request, schemas.SEND)
        key = requests.idempotency_key(request, given.get("idempotencyKey"))
        rendered, is_replay = self._sender.send(given, key, requests.instance(request))
        response.status = 201
        response.data = rendered
        if is_replay:
            response.set_header(REPLAYED_HEADER, "true")

    def on_get(self, request: Request, response: Response) -> None:
        if "for" in request.params:
            send(response, self._inbox(request))
        else:
            send(response, self._search(request))

    def _inbox(self, request: Request) -> dict[str, Any]:
        query = requests.Query(request, _INBOX)
        agent_id = query.text("for")
        if agent_id is None:
            raise InvalidRequest.of([("for", "must be an agent's id")])
        since = query.message_id("since")
        wanted = InboxQuery(
            agent_id=agent_id,
            since=query.message_id("sinceId") if since is None else since,
            limit=query.limit(),
            channel=query.text("channel"),
            unread=bool(query.boolean("unread")),
            wait_seconds=query.wait(),
            instance=requests.instance(request),
        )
        return self._reading.inbox(wanted, requests.is_gone(request))

    def _search(self, request: Request) -> dict[str, Any]:
        query = requests.Query(request, _SEARCH)
        to = query.text("to")
        claimable = query.boolean("claimable")
        filters = {
            "sender": query.text("from"),
            "target": parse_to(to).address if to is not None else None,
            "thread_id": query.message_id("thread"),
            "channel": query.text("channel"),
            "q": query.text("q"),
            "claimable": None if claimable is None else int(claimable),
            "before": query.message_id("before"),
            "after": query.message_id("after"),
        }
        given = {name: value for name, value in filters.items() if value is not None}
        return self._reading.search(given, query.limit())


class Message:
    """One message."""

    def __init__(self, reading: ReadingService, claims: ClaimService) -> None:
        self._reading = reading
        self._claims = claims

    def on_get(self, request: Request, response: Response, message_id: str) -> None:
        query = requests.Query(request, ("wait", "for"))
        wanted = query.choice("for", ReceiptState)
        wait = query.wait()
        number = _id(message_id)
        if wanted is None:
            if wait:
                raise InvalidRequest.of([("for", "must say which state to wait for")])
            send(response, self._reading.get(number))
            return
        answer = self._reading.wait_for(
            number, ReceiptState(wanted), wait, requests.is_gone(request)
        )
        send(response, answer)

    def on_delete(self, request: Request, response: Response, message_id: str) -> None:
        del request
        self._claims.remove(_id(message_id))
        send_nothing(response)


class Explain:
    """Why it did or did not arrive."""

    def __init__(self, service: ExplainService) -> None:
        self._service = service

    def on_get(self, request: Request, response: Response, message_id: str) -> None:
        requests.Query(request, ())
        send(response, self._service.explain(_id(message_id)))


class Route:
    """Who would get it."""

    def __init__(self, service: ExplainService) -> None:
        self._service = service

    def on_get(self, request: Request, response: Response) -> None:
        query = requests.Query(request, ("to", "channel"))
        to = query.text("to")
        if to is None:
            raise InvalidRequest.of([("to", "is required")])
        send(response, self._service.route(to, query.text("channel")))


class Thread:
    """The conversation it belongs to."""

    def __init__(self, reading: ReadingService) -> None:
        self._reading = reading

    def on_get(self, request: Request, response: Response, message_id: str) -> None:
        requests.Query(request, ())
        send(response, self._reading.thread(_id(message_id)))


class Claim:
    """Taking work."""

    def __init__(self, claims: ClaimService) -> None:
        self._claims = claims

    def on_post(self, request: Request, response: Response, message_id: str) -> None:
        given = requests.body(request, schemas.CLAIM)
        seconds = given.get("leaseSeconds") or _DEFAULT_LEASE_SECONDS
        instance = requests.instance(request)
        send(response, self._claims.claim(_id(message_id), given["agentId"], seconds, instance))


class Release:
    """Giving work back."""

    def __init__(self, claims: ClaimService) -> None:
        self._claims = claims

    def on_post(self, request: Request, response: Response, message_id: str) -> None:
        given = requests.body(request, schemas.BY_AGENT)
        instance = requests.instance(request)
        send(response, self._claims.release(_id(message_id), given["agentId"], instance))


class Complete:
    """Ending work."""

    def __init__(self, claims: ClaimService) -> None:
        self._claims = claims

    def on_post(self, request: Request, response: Response, message_id: str) -> None:
        given = requests.body(request, schemas.COMPLETE)
        instance = requests.instance(request)
        answer = self._claims.complete(
            _id(message_id), given["agentId"], given.get("result"), instance
        )
        send(response, answer)


class Read:
    """An agent read it."""

    def __init__(self, service: ReceiptService) -> None:
        self._service = service

    def on_post(self, request: Request, response: Response, message_id: str) -> None:
        given = requests.body(request, schemas.BY_AGENT)
        instance = requests.instance(request)
        send(response, self._service.read(_id(message_id), given["agentId"], instance))


class Deliver:
    """An operator lets a held one through."""

    def __init__(self, claims: ClaimService) -> None:
        self._claims = claims

    def on_post(self, request: Request, response: Response, message_id: str) -> None:
        requests.body(request, schemas.NOTHING)
        send(response, self._claims.deliver(_id(message_id)))
