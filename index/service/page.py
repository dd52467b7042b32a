"""The page's files, as they lie in index/page/: nothing is fetched from elsewhere, or may be.

The policy names what the page may do: its own scripts and styles, pictures from here and from the
addresses of a dataset's rows, requests to here (and to other back ends, which the page's field for
one is for, over https or at this machine).
"""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).resolve().parent.parent / "page"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
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
MAX_AGE_SEC = 300


class Page(StaticFiles):
    """Static files with the policy, and revalidated by ETag once they are old."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, or the index of a folder."""
        response = await super().get_response(path, scope)
        response.headers["Content-Security-Policy"] = POLICY
        html = response.headers.get("content-type", "").startswith("text/html")
        response.headers["Cache-Control"] = "no-cache" if html else f"max-age={MAX_AGE_SEC}"
        return response


def mount_page(app: FastAPI, folder: Path = FOLDER) -> frozenset[str]:
    """Serve the page at /, after all other routes; gives the paths of its files.

    Nothing where the folder is missing.
    """
    if not (folder / "index.html").is_file():
        return frozenset()
    app.mount("/", Page(directory=folder, html=True), name="page")
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return frozenset({"/", *(f"/{path.as_posix()}" for path in files)})
