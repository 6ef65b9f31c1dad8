"""/api/messages, /api/route: sending, reading, claiming, and why something did not arrive."""

from typing import Any, Final

from relay_server.errors import InvalidRequest
from relay_server.http import query, schemas, shapes
from relay_server.http.operation import (
    OWNER_ONLY,
    READERS,
    SESSIONS,
    Allowed,
    Call,
    Operation,
    Reply,
    Speaker,
    nothing,
    ok,
)
from relay_server.http.query import Query
from relay_server.services.claims import ClaimService
from relay_server.services.explain import ExplainService
from relay_server.services.reading import InboxQuery, ReadingService
from relay_server.services.receipts import ReceiptService
from relay_server.services.sending import Sender, parse_to
from relay_server.services.voices import Voices
from relay_server.wire import DEFAULT_LEASE_SECONDS, REPLAYED_HEADER, ReceiptState

_MISSING: Final = "message_not_found"
_CLAIMING: Final = (_MISSING, "agent_not_found", "stale_instance", "sender_forbidden")
_INBOX: Final = frozenset({"for", "since", "sinceId", "limit", "channel", "unread", "wait"})
_SEARCH: Final = frozenset(
    {"from", "to", "thread", "channel", "q", "claimable", "before", "after", "limit"}
)


class MessageOperations:
    """Handlers of messages."""

    def __init__(
        self,
        sender: Sender,
        reading: ReadingService,
        receipts: ReceiptService,
        claims: ClaimService,
        explain: ExplainService,
        voices: Voices,
    ) -> None:
        self._sender = sender
        self._reading = reading
        self._receipts = receipts
        self._claims = claims
        self._explain = explain
        self._voices = voices

    def operations(self) -> list[Operation]:
        """The rows of the contract."""
        return [
            self._sending(),
            *self._lists(),
            *self._on_one(),
            *self._changes(),
            *self._work(),
        ]

    def _sending(self) -> Operation:
        return Operation(
            method="POST",
            path="/api/messages",
            name="sendMessage",
            summary="Send a message",
            handler=self.send,
            allowed=SESSIONS,
            body=schemas.SEND,
            answers={201: shapes.MESSAGE},
            problems=(
                *("agent_not_found", _MISSING, "stale_instance", "sender_forbidden"),
                "rate_limited",
            ),
            speaker=Speaker.FROM,
            is_creating=True,
            has_own_idempotency=True,
        )

    def _lists(self) -> list[Operation]:
        return [
            Operation(
                method="GET",
                path="/api/messages",
                name="listMessages",
                summary="With `for` an agent's inbox, oldest first; else everyone's, newest first",
                handler=self.read,
                allowed=READERS,
                query=Query(
                    {
                        "for": query.naming("the agent whose inbox to read"),
                        "since": query.an_id("only newer ones; without it: what was not handed"),
                        "sinceId": query.an_id("the same as since"),
                        "unread": query.boolean("only what the agent has not read"),
                        "wait": query.seconds("wait until there is one"),
                        "from": query.text(),
                        "to": query.of_kind(schemas.TARGET),
                        "thread": query.an_id(),
                        "channel": query.text(),
                        "q": query.text(about="full-text search"),
                        "claimable": query.boolean(),
                        "before": query.an_id(),
                        "after": query.an_id(),
                        "limit": query.limit(),
                    }
                ),
                answers={200: shapes.MESSAGES},
                problems=(
                    *("agent_not_found", "stale_instance", "sender_forbidden"),
                    "too_many_waits",
                ),
            ),
            Operation(
                method="GET",
                path="/api/route",
                name="previewRoute",
                summary="Who would get a message, before it is sent",
                handler=lambda call: ok(
                    self._explain.route(call.query["to"], call.query["channel"])
                ),
                allowed=READERS,
                query=Query(
                    {
                        "to": query.of_kind(schemas.TARGET, is_required=True),
                        "channel": query.text(),
                    }
                ),
                answers={200: shapes.CANDIDATES},
                problems=("agent_not_found",),
            ),
        ]

    def _on_one(self) -> list[Operation]:
        return [
            _one(
                "GET",
                "",
                "getMessage",
                "One message with its receipts; with `wait`, when every receiver reached `for`",
                self.get,
                READERS,
                answers={200: shapes.MESSAGE_WITH_RECEIPTS},
                query=Query(
                    {
                        "wait": query.seconds("how long to wait for that state"),
                        "for": query.choice(ReceiptState, "the state to wait for"),
                    }
                ),
                problems=(_MISSING, "too_many_waits"),
            ),
            _one(
                "GET",
                "/explain",
                "explainMessage",
                "Why it did or did not arrive",
                lambda call: ok(self._explain.explain(call.path["messageId"])),
                READERS,
                answers={200: shapes.EXPLANATION},
                problems=(_MISSING,),
            ),
            _one(
                "GET",
                "/thread",
                "getThread",
                "The whole conversation, oldest first",
                lambda call: ok(self._reading.thread(call.path["messageId"])),
                READERS,
                answers={200: shapes.MESSAGES},
                problems=(_MISSING,),
            ),
        ]

    def _changes(self) -> list[Operation]:
        return [
            _one(
                "DELETE",
                "",
                "removeMessage",
                "Delete a message and its receipts",
                self.remove,
                OWNER_ONLY,
                answers={204: None},
                problems=(_MISSING,),
            ),
            _one(
                "POST",
                "/read",
                "readMessage",
                "The agent has read it; idempotent",
                self.mark_read,
                SESSIONS,
                answers={200: shapes.RECEIPT},
                problems=_CLAIMING,
                body=schemas.BY_AGENT,
                speaker=Speaker.AGENT,
            ),
            _one(
                "POST",
                "/deliver",
                "deliverMessage",
                "An operator lets a held message through",
                lambda call: ok(self._claims.deliver(call.path["messageId"])),
                OWNER_ONLY,
                answers={200: shapes.MESSAGE},
                problems=(_MISSING, "invalid_transition"),
                body=schemas.NOTHING,
            ),
        ]

    def _work(self) -> list[Operation]:
        return [
            _one(
                "POST",
                "/claim",
                "claimMessage",
                "Take claimable work; by its owner: renew the lease",
                self.claim,
                SESSIONS,
                answers={200: shapes.MESSAGE},
                problems=(*_CLAIMING, "already_claimed", "not_claimable"),
                body=schemas.CLAIM,
                speaker=Speaker.AGENT,
            ),
            _one(
                "POST",
                "/release",
                "releaseMessage",
                "Give claimed work back",
                self.release,
                SESSIONS,
                answers={200: shapes.MESSAGE},
                problems=(*_CLAIMING, "not_owner", "not_claimable"),
                body=schemas.BY_AGENT,
                speaker=Speaker.AGENT,
            ),
            _one(
                "POST",
                "/complete",
                "completeMessage",
                "End claimed work; a result becomes a reply in the thread",
                self.complete,
                SESSIONS,
                answers={200: shapes.MESSAGE},
                problems=(*_CLAIMING, "not_owner", "not_claimable"),
                body=schemas.COMPLETE,
                speaker=Speaker.AGENT,
            ),
        ]

    # -- sending and reading

    def send(self, call: Call) -> Reply:
        rendered, is_replay = self._sender.send(call.body, call.key, call.instance)
        headers = {REPLAYED_HEADER: "true"} if is_replay else {}
        return Reply(201, rendered=rendered, headers=headers)

    def read(self, call: Call) -> Reply:
        given = {name: value for name, value in call.query.items() if value is not None}
        if "for" in given:
            self._voices.require(call.principal, [given["for"]])
            _refuse(given, _INBOX, "does not go with for")
            return ok(self._reading.inbox(_inbox_query(given, call.instance), call.is_gone))
        _refuse(given, _SEARCH, "needs for")
        return ok(self._reading.search(_filters(given), given["limit"]))

    def get(self, call: Call) -> Reply:
        message_id, wanted, wait = call.path["messageId"], call.query["for"], call.query["wait"]
        if wanted is None:
            if wait:
                raise InvalidRequest.of([("for", "must say which state to wait for")])
            return ok(self._reading.get(message_id))
        state = ReceiptState(wanted)
        return ok(self._reading.wait_for(message_id, state, wait or 0, call.is_gone))

    def remove(self, call: Call) -> Reply:
        self._claims.remove(call.path["messageId"])
        return nothing()

    def mark_read(self, call: Call) -> Reply:
        return ok(self._receipts.read(call.path["messageId"], call.body["agentId"], call.instance))

    # -- work

    def claim(self, call: Call) -> Reply:
        seconds = call.body.get("leaseSeconds") or DEFAULT_LEASE_SECONDS
        agent_id = call.body["agentId"]
        return ok(self._claims.claim(call.path["messageId"], agent_id, seconds, call.instance))

    def release(self, call: Call) -> Reply:
        agent_id = call.body["agentId"]
        return ok(self._claims.release(call.path["messageId"], agent_id, call.instance))

    def complete(self, call: Call) -> Reply:
        agent_id, result = call.body["agentId"], call.body.get("result")
        return ok(self._claims.complete(call.path["messageId"], agent_id, result, call.instance))


def _one(
    method: str,
    verb: str,
    name: str,
    summary: str,
    handler: Any,
    allowed: Allowed,
    **more: Any,
) -> Operation:
    """An operation on one message."""
    return Operation(
        method=method,
        path=f"/api/messages/{{messageId}}{verb}",
        name=name,
        summary=summary,
        handler=handler,
        allowed=allowed,
        path_kinds={"messageId": schemas.ID},
        missing=_MISSING,
        **more,
    )


def _refuse(given: dict[str, Any], known: frozenset[str], why: str) -> None:
    errors = [(name, why) for name in given if name not in known]
    if errors:
        raise InvalidRequest.of(errors)


def _inbox_query(given: dict[str, Any], instance: str | None) -> InboxQuery:
    return InboxQuery(
        agent_id=given["for"],
        since=given.get("since", given.get("sinceId")),
        limit=given["limit"],
        channel=given.get("channel"),
        unread=bool(given.get("unread")),
        wait_seconds=given.get("wait", 0),
        instance=instance,
    )


def _filters(given: dict[str, Any]) -> dict[str, Any]:
    columns = {"from": "sender", "to": "target", "thread": "thread_id"}
    found = {columns.get(name, name): value for name, value in given.items() if name != "limit"}
    if "target" in found:
        found["target"] = parse_to(found["target"]).address
    if "claimable" in found:
        found["claimable"] = int(found["claimable"])
    return found
