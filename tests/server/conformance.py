"""Judges answers by the published OpenAPI page: what it does not promise must not come.

Whatever a client of `judged_client` is answered passes here, so each test of the relay tests the
page as well. HEAD, OPTIONS and paths that the page does not have are left alone.
"""

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final

import httpx
import jsonschema_rs

from relay_server import __version__

Json = dict[str, Any]

_METHODS: Final = ("get", "post", "put", "patch", "delete")
_EVENTS: Final = "text/event-stream"
_pages: list["Page"] = []


def judged_client(url: str, token: str | None = None, **options: Any) -> httpx.Client:
    """A client that fails the test when an answer is not as the page says.

    The token is for reading the page only, which is the same for every relay.
    """
    page = published_page(url, token)

    def judge(answer: httpx.Response) -> None:
        fault = page.fault_of(answer)
        if fault is not None:
            raise AssertionError(f"{answer.request.method} {answer.request.url}: {fault}")

    given = {"trust_env": False, "timeout": 20, **options}
    return httpx.Client(base_url=url, event_hooks={"response": [judge]}, **given)


def published_page(url: str, token: str | None = None) -> "Page":
    """The page as the server publishes it, read once."""
    if not _pages:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = httpx.get(f"{url}/api/openapi.json", headers=headers, trust_env=False)
        assert answer.status_code == 200, answer.text
        _pages.append(Page(answer.json()))
    return _pages[0]


class Page:
    """The page, with its validators made once."""

    def __init__(self, document: Json) -> None:
        self.document = document
        self._validators: dict[tuple[str, str, str, str], Callable[[Any], str | None]] = {}
        templates = sorted(document["paths"], key=lambda path: path.count("{"))
        self._forms = [(_form(template), template) for template in templates]

    def operation_of(self, method: str, path: str) -> tuple[str, Json] | None:
        """The template and the operation a request belongs to."""
        template = self._template_of(path)
        found = self.document["paths"].get(template, {}).get(method.lower())
        return None if found is None else (template, found)

    def _template_of(self, path: str) -> str:
        return next((template for form, template in self._forms if form.fullmatch(path)), "")

    def fault_of(self, answer: httpx.Response) -> str | None:
        """What the answer does against the page; None when all is as promised."""
        method, path = answer.request.method.lower(), answer.request.url.path
        template = self._template_of(path)
        if not template or method not in _METHODS:
            return None
        operation = self.document["paths"][template].get(method)
        if operation is None:
            return None if answer.status_code in (401, 403, 405, 421) else "must be 405"
        status = str(answer.status_code)
        declared = operation["responses"].get(status)
        if declared is None:
            return f"status {status} is not documented"
        missing = [
            name
            for name, header in declared["headers"].items()
            if header.get("required") and name not in answer.headers
        ]
        if missing:
            return f"lacks {missing}"
        if answer.headers["X-Agent-Relay-Version"] != __version__:
            return "has another version"
        return self._fault_of_content(answer, (template, method, status), declared)

    def _fault_of_content(
        self, answer: httpx.Response, place: tuple[str, str, str], declared: Json
    ) -> str | None:
        content: Mapping[str, Json] = declared.get("content", {})
        given = answer.headers.get("Content-Type")
        if not content:
            return f"must have no body, has {given}" if answer.read() else None
        media = (given or "").partition(";")[0]
        if media not in content:
            return f"is {given}, not {list(content)}"
        if media == _EVENTS or not media.endswith("json"):
            return None  # streams are not read here
        answer.read()
        return self._validator(*place, media)(answer.json())

    def _validator(
        self, template: str, method: str, status: str, media: str
    ) -> Callable[[Any], str | None]:
        place = (template, method, status, media)
        if place not in self._validators:
            responses = self.document["paths"][template][method]["responses"]
            self._validators[place] = self._compiled(responses[status]["content"][media]["schema"])
        return self._validators[place]

    @cached_property
    def _components(self) -> Json:
        return {"components": self.document["components"]}

    def _compiled(self, schema: Json) -> Callable[[Any], str | None]:
        validator = jsonschema_rs.Draft202012Validator(
            {**self._components, **schema}, validate_formats=True
        )

        def fault(value: Any) -> str | None:
            error = next(validator.iter_errors(value), None)
            return None if error is None else f"{list(error.instance_path)}: {error.message}"

        return fault


def _form(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template)))
