"""The dashboard's static files at `/`: from the wheel, or from the source tree."""

from pathlib import Path
from typing import Any, BinaryIO, cast

import falcon
from falcon.routing import StaticRoute

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
        app.add_sink(_Files(files).answer, prefix="/")


class _Files:
    """falcon's static route, which by itself would answer every method and know no 405."""

    def __init__(self, files: Path) -> None:
        self._files = files
        self._route = StaticRoute("/", str(files))

    def answer(self, req: falcon.Request, resp: falcon.Response, **kwargs: Any) -> None:
        """A file for GET and HEAD; an unknown path is 404 whatever the method."""
        del kwargs
        if req.method in ("GET", "HEAD"):
            self._route(req, resp)
            if req.method == "HEAD" and resp.stream is not None:
                # Nobody will read it, so nobody would close it.
                cast("BinaryIO", resp.stream).close()
                resp.stream = None
            return
        if self._is_file(req.path):
            raise falcon.HTTPMethodNotAllowed(["GET", "HEAD"])
        raise falcon.HTTPNotFound

    def _is_file(self, path: str) -> bool:
        try:
            wanted = (self._files / path.lstrip("/")).resolve()
            return wanted.is_relative_to(self._files) and wanted.is_file()
        except (OSError, ValueError):  # a name too long, or with a NUL
            return False


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
