"""Other products' webhooks, taken as they are: Alertmanager's and GitHub's.

What they send becomes events (`relay_server.domain.connectors`), reported like any others of the
integration, all of one delivery or none. GitHub cannot send our tokens: its signature says who
calls, and it is checked before anything is parsed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from relay_server.domain.access import Integration, Principal
from relay_server.domain.connectors import alertmanager, github
from relay_server.domain.connectors.payload import Event
from relay_server.errors import Forbidden, InvalidRequest, Unauthorized
from relay_server.http import query, schemas, shapes
from relay_server.http import request as requests
from relay_server.http.operation import Allowed, Call, Operation, Reply, ok
from relay_server.http.operations.tasks import REFUSED, maker
from relay_server.http.query import Query
from relay_server.services.idempotency import IdempotencyService
from relay_server.services.integrations import Integrations
from relay_server.services.tasks import TaskService
from relay_server.wire import REPLAYED_HEADER, IntegrationScope

_CREATORS: Final[Allowed] = frozenset({IntegrationScope.TASKS_CREATE})
_LONGEST_SHOWN: Final = 200
_WHERE: Final = Query(
    {
        "target": query.of_kind(
            schemas.TARGET, about="who gets the tasks; the integration's only one by default"
        ),
        "channel": query.text(),
    }
)


class WebhookOperations:
    """Handlers of the receivers."""

    def __init__(
        self, tasks: TaskService, integrations: Integrations, idempotency: IdempotencyService
    ) -> None:
        self._tasks = tasks
        self._integrations = integrations
        self._idempotency = idempotency

    def operations(self) -> list[Operation]:
        """Additions to the contract."""
        return [
            Operation(
                method="POST",
                path="/api/integrations/alertmanager",
                name="receiveAlertmanager",
                summary="Prometheus Alertmanager's webhook (version 4): an event for each alert",
                handler=self.receive_alerts,
                allowed=_CREATORS,
                query=_WHERE,
                body=schemas.FOREIGN,
                answers={200: shapes.RECEIVED},
                problems=REFUSED,
            ),
            Operation(
                method="POST",
                path="/api/integrations/{integration}/github",
                name="receiveGithub",
                summary="GitHub's webhook, signed with the integration's webhookSecret",
                handler=self.receive_github,
                allowed=_CREATORS,
                query=_WHERE,
                body=schemas.FOREIGN,
                answers={200: shapes.RECEIVED_OR_IGNORED},
                problems=(*REFUSED, "unauthorized", "forbidden", "idempotency_mismatch"),
                is_raw=True,
                is_public=True,
            ),
        ]

    def receive_alerts(self, call: Call) -> Reply:
        found = alertmanager.events_of(call.body)
        events = _addressed(found, call.query, call.principal.integration)
        return ok({"results": self._tasks.report_all(maker(call.principal, None), events)})

    def receive_github(self, call: Call) -> Reply:
        integration = self._signer(call)
        payload = requests.parsed(call.raw, call.header("Content-Type"))
        name = call.header("X-GitHub-Event")
        if not name:
            raise InvalidRequest.of([("X-GitHub-Event", "is required")])
        event = github.event_of(name, payload)
        events = [] if event is None else _addressed([event], call.query, integration)
        ignored = github.name_of(name, payload)[:_LONGEST_SHOWN] if event is None else None
        signer = maker(Principal(name=integration.name, scope=None, integration=integration), None)

        def receive() -> tuple[int, object]:
            return 200, {"results": self._tasks.report_all(signer, events), "ignored": ignored}

        outcome = self._idempotency.once(
            "receiveGithub",
            integration.name,
            requests.checked_key("X-GitHub-Delivery", call.header("X-GitHub-Delivery")),
            {"event": name, "payload": payload, "query": dict(call.query)},
            receive,
        )
        headers = {REPLAYED_HEADER: "true"} if outcome.is_replay else {}
        return Reply(outcome.status, rendered=outcome.body, headers=headers)

    def _signer(self, call: Call) -> Integration:
        """Whose delivery it is. Raises: Forbidden, Unauthorized."""
        integration = self._integrations.by_name(call.path["integration"])
        if integration is None or integration.webhook_secret is None:
            raise Forbidden("There is no integration of that name with a webhookSecret.")
        signature = call.header("X-Hub-Signature-256")
        if not github.is_signed(call.raw, signature, integration.webhook_secret):
            raise Unauthorized("X-Hub-Signature-256 is not the one of this body and secret.")
        if not integration.scopes & _CREATORS:
            raise Forbidden(f"{integration.name} needs the scope {IntegrationScope.TASKS_CREATE}.")
        return integration


def _addressed(
    events: Sequence[Event], where: Mapping[str, Any], integration: Integration | None
) -> list[Event]:
    """The events as integrations post them. Raises: InvalidRequest."""
    target = where["target"]
    if target is None and integration is not None and len(integration.targets or ()) == 1:
        (target,) = integration.targets or ()
    if target is None:
        why = "is required, unless the integration has exactly one target"
        raise InvalidRequest.of([("target", why)])
    place = {"target": target, "channel": where["channel"]}
    return [schemas.EVENT.parse({**event, **place}) for event in events]
