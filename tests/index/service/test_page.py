"""The page's files: joined, compressed, kept by digest, and under a policy that lets nothing in."""

import base64
import gzip
import hashlib
import re
import shutil
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from frenchcat.index.service.page import FOLDER, mount_page
from frenchcat.index.service.page_bundle import bundle

PAGE = """<!doctype html><html><head><title>cats</title>
<script type="module" src="early.js"></script>
<link rel="stylesheet" href="style.css">
<script type="module" src="app.js"></script>
</head><body></body></html>
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The least that is a page."""
    (tmp_path / "index.html").write_text(PAGE)
    (tmp_path / "style.css").write_text("body { margin: 0 }")
    (tmp_path / "shared.js").write_text("// why\nexport const MOST = 1;\n")
    imports = 'import { MOST } from "./shared.js";\n'
    (tmp_path / "early.js").write_text(f"{imports}export const early = MOST;\n")
    (tmp_path / "app.js").write_text(f'{imports}import {{ early }} from "./early.js";\n')
    return tmp_path


def client_of(folder: Path) -> TestClient:
    app = FastAPI()
    mount_page(app, folder)
    return TestClient(app)


def test_the_page_is_revalidated_and_what_it_names_is_kept() -> None:
    with client_of(FOLDER) as client:
        page = client.get("/")
        assert page.headers["content-type"].startswith("text/html")
        assert page.headers["cache-control"] == "no-cache"
        assert client.get("/index.html").text == page.text
        named = re.findall(r'(?:src|href)="(page-[^"]+)"', page.text)
        assert sorted(name.rsplit(".", 1)[1] for name in named) == ["css", "js"]
        for answer in (page, *(client.get(f"/{name}") for name in named)):
            assert answer.status_code == 200
            assert answer.headers["content-security-policy"]
            for tag in (answer.headers["etag"], answer.headers["etag"].removeprefix("W/")):
                again = client.get(answer.url.path, headers={"If-None-Match": tag})
                assert (again.status_code, again.content) == (304, b"")
            if answer is not page:
                assert "immutable" in answer.headers["cache-control"]
        script = client.get("/app.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert script.headers["cache-control"] == "max-age=300"
        assert client.get("/../pyproject.toml").status_code == 404
        assert client.get("/%2e%2e/pyproject.toml").status_code == 404
        assert client.get("/none.js").status_code == 404


def test_what_is_compressed_is_the_same() -> None:
    with client_of(FOLDER) as client:
        path = re.findall(r'src="(page-[^"]+)"', client.get("/").text)[0]
        with client.stream("GET", path, headers={"Accept-Encoding": "br, gzip"}) as answer:
            assert answer.headers["content-encoding"] == "gzip"
            assert answer.headers["vary"] == "Accept-Encoding"
            packed = b"".join(answer.iter_raw())
        plain = client.get(path, headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert gzip.decompress(packed) == plain.content


def test_the_policy_lets_no_script_in_but_the_pages_own() -> None:
    with client_of(FOLDER) as client:
        page = client.get("/")
    policy = page.headers["content-security-policy"]
    rules = dict(part.split(" ", 1) for part in policy.split("; "))
    inline = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in inline]
    assert rules["default-src"] == "'none'"
    assert rules["style-src"] == "'self'"
    assert rules["script-src"] == f"'self' 'sha256-{digests[0]}'"
    assert len(inline) == 1
    assert "unsafe" not in policy
    assert rules["frame-ancestors"] == "'none'"


def test_every_module_is_in_the_page_once() -> None:
    files = bundle(FOLDER).files
    scripts = [file.data.decode() for name, file in files.items() if not name.endswith(".css")]
    joined = re.findall(r'^modules\["([^"]+)"\] = ', "".join(scripts), re.MULTILINE)
    assert sorted(joined) == sorted(path.name for path in FOLDER.glob("*.js"))


def test_names_change_with_the_content(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other") / "page"
    shutil.copytree(folder, other)
    assert set(bundle(folder).files) == set(bundle(other).files)
    with open(other / "app.js", "a") as file:
        file.write("addEventListener('load', () => 1);\n")
    changed = set(bundle(folder).files) ^ set(bundle(other).files)
    assert [name.rsplit(".", 1)[1] for name in changed] == ["js", "js"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("shared.js", 'import { early } from "./early.js";\n', "early.js -> shared.js -> early.js"),
        ("app.js", "export default 1;\n", "export default 1;"),
        ("app.js", 'const more = import("./more.js");\n', "import("),
        ("app.js", 'import { MOST as few } from "./shared.js";\n', "MOST as few"),
        ("app.js", 'import { FEW } from "./shared.js";\n', "shared.js does not export FEW"),
        ("early.js", 'const end = "</script>";\n', "</script"),
        ("index.html", PAGE.replace(' type="module"', ""), "two module scripts"),
    ],
)
def test_what_cannot_be_joined_is_refused(folder: Path, name: str, text: str, said: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=re.escape(said)):
        bundle(folder)
