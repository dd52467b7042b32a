"""The page's files: nothing is fetched from elsewhere, or may be.

The page itself and what it needs are joined from index/page/ (page_bundle.py); the files there are
served as they lie, too, for whoever reads them. The policy names what the page may do: its own
scripts and styles, images from here and from the addresses of a dataset's rows, requests to here
(and to other back ends, which the page's field for one is for, over https or at this machine).
"""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from frenchcat.index.service.page_bundle import File, PageBundle, bundle
from frenchcat.index.service.ranges import has_tag, tag_of

FOLDER = Path(__file__).resolve().parent.parent / "page"
MAX_AGE_SEC = 300
KEPT = "public, max-age=31536000, immutable"  # of names that hold a digest


def policy_of(script_hash: str) -> str:
    """The Content-Security-Policy of a page with one inline script of this digest."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' '{script_hash}'",
            "style-src 'self'",
            "img-src 'self' data: blob: https: http:",
            "connect-src 'self' https: http://127.0.0.1:* http://localhost:*",
            "font-src 'self'",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


class Page(StaticFiles):
    """The joined files, then those of the folder; all with the policy and an ETag."""

    def __init__(self, folder: Path, bundled: PageBundle) -> None:
        super().__init__(directory=folder)
        self.joined = bundled.files
        self.policy = policy_of(bundled.inline_hash)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The page itself ("." and index.html), a file that it names, or a file of the folder."""
        name = "" if path in (".", "index.html") else path
        if (file := self.joined.get(name)) is not None:
            response = _answer(Request(scope), file)
            response.headers["Cache-Control"] = KEPT if name else "no-cache"
        else:
            response = await super().get_response(path, scope)
            response.headers["Cache-Control"] = f"max-age={MAX_AGE_SEC}"
        response.headers["Content-Security-Policy"] = self.policy
        return response


def _answer(request: Request, file: File) -> Response:
    """A joined file, compressed where the client takes that, or 304 where the client has it."""
    headers = {"ETag": tag_of(file.data), "Vary": "Accept-Encoding"}
    if has_tag(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(file.data, media_type=file.media_type, headers=headers)
    headers |= {"Content-Encoding": "gzip", "ETag": f"W/{headers['ETag']}"}
    return Response(file.packed, media_type=file.media_type, headers=headers)


def mount_page(app: FastAPI, folder: Path = FOLDER) -> frozenset[str]:
    """Serve the page at /, after all other routes; gives the paths of its files.

    Nothing where the folder is missing.
    """
    if not (folder / "index.html").is_file():
        return frozenset()
    bundled = bundle(folder)
    app.mount("/", Page(folder, bundled), name="page")
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return frozenset(f"/{name}" for name in (*files, *bundled.files))
