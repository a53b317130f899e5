"""The page at `/crma` and the files it loads from `/crma/static/`: static, without data; it asks the admin
API for all that it shows, with the key its user gives."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

PAGE = "index.html"
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
# Nothing from elsewhere, nothing inline, and no text that could become markup.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # An upgraded server must not be met by a page of its predecessor.
    "cache-control": "no-cache",
}


@dataclass(frozen=True)
class _File:
    content: bytes
    media_type: str
    etag: str


def dashboard_router() -> APIRouter:
    """The routes. The files are read once, here: no request names a path that is opened."""
    router = APIRouter()
    known = _read_files()

    @router.head("/crma", include_in_schema=False)
    @router.get("/crma")
    async def dashboard(request: Request) -> Response:
        """The dashboard's page."""
        return _reply(known[PAGE], request)

    @router.head("/crma/static/{name}", include_in_schema=False)
    @router.get("/crma/static/{name}")
    async def dashboard_file(name: str, request: Request) -> Response:
        """A file of the dashboard's page."""
        if name not in known:
            raise HTTPException(404, f"the dashboard has no file {name[:80]!r}")
        return _reply(known[name], request)

    return router


def _read_files() -> dict[str, _File]:
    known = {}
    for entry in files("crma_server").joinpath("dashboard", "static").iterdir():
        media_type = _TYPES.get(entry.name.rpartition(".")[2])
        if media_type is not None:
            content = entry.read_bytes()
            known[entry.name] = _File(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
    return known


def _reply(file: _File, request: Request) -> Response:
    headers = _HEADERS | {"etag": file.etag}
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
