"""The application: every operation of every area, behind the gate, and the dashboard's files."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import falcon

from relay_server.http import dashboard, openapi, problems
from relay_server.http.dispatch import Dispatcher
from relay_server.http.gate import Gate
from relay_server.http.operation import Operation
from relay_server.http.operations.access import AccessOperations
from relay_server.http.operations.agents import AgentOperations
from relay_server.http.operations.approvals import ApprovalOperations
from relay_server.http.operations.commands import CommandOperations
from relay_server.http.operations.machines import MachineOperations
from relay_server.http.operations.messages import MessageOperations
from relay_server.http.operations.service import ServiceOperations
from relay_server.http.operations.streams import StreamOperations
from relay_server.http.operations.tasks import TaskOperations
from relay_server.http.operations.webhooks import WebhookOperations
from relay_server.metrics import Metrics
from relay_server.services.access import Access
from relay_server.services.agents import AgentService
from relay_server.services.approvals import ApprovalService
from relay_server.services.callbacks import CallbackService
from relay_server.services.claims import ClaimService
from relay_server.services.commands import CommandService
from relay_server.services.explain import ExplainService
from relay_server.services.idempotency import IdempotencyService
from relay_server.services.integrations import Integrations
from relay_server.services.machines import MachineService
from relay_server.services.reading import ReadingService
from relay_server.services.receipts import ReceiptService
from relay_server.services.sending import Sender
from relay_server.services.stats import StatsService
from relay_server.services.streaming import StreamService
from relay_server.services.tasks import TaskService
from relay_server.services.tokens import Tokens
from relay_server.services.voices import Voices
from relay_server.settings import Settings

App = falcon.App[falcon.Request, falcon.Response]


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the handlers call."""

    access: Access
    metrics: Metrics
    voices: Voices
    idempotency: IdempotencyService
    agents: AgentService
    sender: Sender
    reading: ReadingService
    receipts: ReceiptService
    claims: ClaimService
    explain: ExplainService
    streams: StreamService
    machines: MachineService
    stats: StatsService
    tasks: TaskService
    callbacks: CallbackService
    integrations: Integrations
    tokens: Tokens
    approvals: ApprovalService
    commands: CommandService


def build_app(settings: Settings, services: Services) -> App:
    """The WSGI application."""
    service = ServiceOperations(services.stats, services.access)
    operations = [*service.operations(), *operations_of(services)]
    service.document = openapi.document(operations)
    gate = Gate(settings, services.access, services.metrics, _public(operations))
    app: App = falcon.App(middleware=[gate], sink_before_static_route=False)
    app.req_options.auto_parse_qs_csv = False
    app.req_options.keep_blank_qs_values = True
    problems.install(app)
    app.add_route("/", dashboard.Index())
    Dispatcher(services.access, services.voices, services.idempotency).install(app, operations)
    dashboard.install(app)
    return app


def operations_of(s: Services) -> list[Operation]:
    """Every row of the contract but those of the server itself."""
    messages = MessageOperations(s.sender, s.reading, s.receipts, s.claims, s.explain, s.voices)
    return [
        *AgentOperations(s.agents, s.receipts, s.voices).operations(),
        *messages.operations(),
        *StreamOperations(s.streams, s.voices).operations(),
        *TaskOperations(s.tasks, s.callbacks).operations(),
        *WebhookOperations(s.tasks, s.integrations, s.idempotency).operations(),
        *MachineOperations(s.machines, s.voices).operations(),
        *ApprovalOperations(s.approvals, s.voices).operations(),
        *CommandOperations(s.commands, s.voices).operations(),
        *AccessOperations(s.tokens, s.integrations).operations(),
    ]


def _public(operations: Iterable[Operation]) -> Callable[[str], bool]:
    """Which paths need no token, before anything is routed."""
    public = [operation.path for operation in operations if operation.is_public]
    exact = frozenset(path for path in public if "{" not in path)
    forms = [re.compile(re.sub(r"\{\w+\}", "[^/]+", path)) for path in public if path not in exact]
    return lambda path: path in exact or any(form.fullmatch(path) for form in forms)
