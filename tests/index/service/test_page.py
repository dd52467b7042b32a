"""The page's files: served from a folder, under a policy that lets nothing in from elsewhere."""

import re
from pathlib import Path

from fastapi import FastAPI
from fastapi.testclient import TestClient

from frenchcat.index.service.page import FOLDER, POLICY, mount_page


def test_files_are_served_with_policy_type_and_revalidation(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<!doctype html><title>cats</title>")
    (tmp_path / "app.js").write_text("export const cats = 1;")
    app = FastAPI()
    mount_page(app, tmp_path)
    with TestClient(app) as client:
        page, script = client.get("/"), client.get("/app.js")
        assert page.headers["content-type"].startswith("text/html")
        assert page.headers["cache-control"] == "no-cache"
        assert script.headers["content-type"].startswith("text/javascript")
        assert script.headers["cache-control"] == "max-age=300"
        for answer in (page, script):
            assert answer.headers["content-security-policy"] == POLICY
            tag = {"If-None-Match": answer.headers["etag"]}
            assert client.get(answer.url.path, headers=tag).status_code == 304
        assert client.get("/../pyproject.toml").status_code == 404
        assert client.get("/%2e%2e/pyproject.toml").status_code == 404
        assert client.get("/none.js").status_code == 404


def test_the_policy_lets_no_script_in_from_elsewhere() -> None:
    rules = dict(part.split(" ", 1) for part in POLICY.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == "'self'"
    assert "unsafe" not in POLICY
    assert rules["frame-ancestors"] == "'none'"


def test_every_module_is_preloaded() -> None:
    """A phone far away waits once for them, not once for each level of imports."""
    page = (FOLDER / "index.html").read_text()
    modules = {path.name for path in FOLDER.glob("*.js")} - {"theme.js", "app.js"}
    assert set(re.findall('rel="modulepreload" href="([^"]+)"', page)) == modules
