"""/api/tokens and /api/integrations: who may call, decided by the owner."""

from typing import Final

from relay_server.http import schemas, shapes
from relay_server.http.operation import OWNER_ONLY, Call, Operation, Reply, created, nothing, ok
from relay_server.http.shapes import TEXT, envelope, with_
from relay_server.services.integrations import Integrations
from relay_server.services.tokens import Tokens

_TOKENS: Final = envelope("tokens", shapes.TOKEN)
_INTEGRATIONS: Final = envelope("integrations", shapes.INTEGRATION)
_NEW_TOKEN: Final = with_(shapes.TOKEN, "NewToken", token=TEXT)
_NEW_INTEGRATION: Final = with_(shapes.INTEGRATION, "NewIntegration", token=TEXT)


class AccessOperations:
    """Handlers of tokens and integrations."""

    def __init__(self, tokens: Tokens, integrations: Integrations) -> None:
        self._tokens = tokens
        self._integrations = integrations

    def operations(self) -> list[Operation]:
        """The rows of the contract, and integrations as an addition to it."""
        return [*self._of_tokens(), *self._of_integrations()]

    def _of_tokens(self) -> list[Operation]:
        return [
            Operation(
                method="POST",
                path="/api/tokens",
                name="createToken",
                summary="A scoped token; its secret is in this answer and in no other",
                handler=lambda call: created(self._tokens.create(call.body)),
                allowed=OWNER_ONLY,
                body=schemas.NEW_TOKEN,
                answers={201: _NEW_TOKEN},
                problems=("conflict",),
                is_creating=True,
                is_secret=True,
            ),
            Operation(
                method="GET",
                path="/api/tokens",
                name="listTokens",
                summary="All scoped tokens, oldest first, without their secrets",
                handler=lambda _: ok({"tokens": self._tokens.all()}),
                allowed=OWNER_ONLY,
                answers={200: _TOKENS},
            ),
            Operation(
                method="DELETE",
                path="/api/tokens/{tokenId}",
                name="deleteToken",
                summary="It is worth nothing from now on",
                handler=self.delete_token,
                allowed=OWNER_ONLY,
                answers={204: None},
                path_kinds={"tokenId": schemas.ID},
                missing="token_not_found",
            ),
        ]

    def _of_integrations(self) -> list[Operation]:
        return [
            Operation(
                method="POST",
                path="/api/integrations",
                name="addIntegration",
                summary="An outside system; its token is in this answer and in no other",
                handler=lambda call: created(self._integrations.add(call.body)),
                allowed=OWNER_ONLY,
                body=schemas.NEW_INTEGRATION,
                answers={201: _NEW_INTEGRATION},
                problems=("conflict",),
                is_creating=True,
                is_secret=True,
            ),
            Operation(
                method="GET",
                path="/api/integrations",
                name="listIntegrations",
                summary="All integrations by name, also those of the settings, without secrets",
                handler=lambda _: ok({"integrations": self._integrations.all()}),
                allowed=OWNER_ONLY,
                answers={200: _INTEGRATIONS},
            ),
            Operation(
                method="DELETE",
                path="/api/integrations/{integration}",
                name="removeIntegration",
                summary="Its token is worth nothing from now on; its tasks stay",
                handler=self.remove_integration,
                allowed=OWNER_ONLY,
                answers={204: None},
                problems=("conflict",),
                path_kinds={"integration": schemas.INTEGRATION},
                missing="integration_not_found",
            ),
        ]

    def delete_token(self, call: Call) -> Reply:
        self._tokens.delete(call.path["tokenId"])
        return nothing()

    def remove_integration(self, call: Call) -> Reply:
        self._integrations.remove(call.path["integration"])
        return nothing()
