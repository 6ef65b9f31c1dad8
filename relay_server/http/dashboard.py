"""The dashboard's static files at `/`: from the wheel, or from the source tree."""

from pathlib import Path
from typing import Any

import falcon

_PACKAGE = Path(__file__).resolve().parent.parent


def folder() -> Path | None:
    """Where the files are; None when this installation carries none."""
    for candidate in (_PACKAGE / "_dashboard", _PACKAGE.parent / "dashboard"):
        if candidate.is_dir():
            return candidate
    return None


def install(app: falcon.App[falcon.Request, falcon.Response]) -> None:
    """Serve them, after all routes."""
    files = folder()
    if files is not None:
        app.add_static_route("/", str(files), fallback_filename=None)


class Index:
    """`/` itself."""

    def on_get(self, request: Any, response: falcon.Response) -> None:
        del request
        files = folder()
        page = files / "index.html" if files else None
        if page is None or not page.is_file():
            raise falcon.HTTPNotFound
        response.content_type = "text/html; charset=utf-8"
        response.cache_control = ["no-cache"]
        response.data = page.read_bytes()
