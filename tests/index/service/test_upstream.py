"""clip-retrieval's own client and page, unmodified, against us. Needs its venv and Chromium.

`python -m bench.serve --prepare` makes the venv in .bench/clip-retrieval; without it, or without
Chromium, these tests are skipped: neither is a dependency, and CI's machine has no such venv.
"""

import functools
import http.server
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from frenchcat.curate.clip.model import Clip
from frenchcat.curate.dataset import Dataset
from frenchcat.index.service.app import create_app
from frenchcat.index.service.settings import ServeSettings
from tests.index.service.served import CAPTIONS, NAME
from tests.sample.pictures import picture
from tests.sample.vectors import unit

ROOT = Path(__file__).resolve().parents[3]
PEER = ROOT / ".bench" / "clip-retrieval"
CHROMIUM = "/usr/bin/chromium"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (PEER / "bin" / "clip-retrieval").exists(),
        reason="no clip-retrieval; run: python -m bench.serve --prepare",
    ),
]


def front() -> Path:
    (found,) = PEER.glob("lib/python*/site-packages/front/build")
    return found


@pytest.fixture
def page_server(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """The built page's files, copied, at a port of their own."""
    folder = tmp_path / "front"
    shutil.copytree(front(), folder)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield folder, server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def port(cats: Dataset, clip: Clip, page_server: tuple[Path, int]) -> Iterator[int]:
    """Our service at a real port, which the page's origin may ask."""
    origin = f"http://127.0.0.1:{page_server[1]}"
    app = create_app([cats], ServeSettings(cors=(origin,), preload=False), clip)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        pass
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


CLIENT = """
import json, sys
from clip_retrieval.clip_client import ClipClient, Modality
url, text, file, vector = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
client = ClipClient(url=url, indice_name=sys.argv[5], num_images=5)
by_caption = ClipClient(url=url, indice_name=sys.argv[5], modality=Modality.TEXT, num_images=1)
print(json.dumps([client.query(text=text), client.query(image=file),
                  client.query(embedding_input=vector), by_caption.query(text=text)]))
"""


def test_clip_client_works_unmodified(port: int, clip: Clip, tmp_path: Path) -> None:
    file = tmp_path / "query.png"
    file.write_bytes(picture(0, 32, 24))
    vector = unit(clip.encode_texts([CAPTIONS[5]])[0]).tolist()
    url = f"http://127.0.0.1:{port}/knn-service"
    arguments = [url, CAPTIONS[2], str(file), json.dumps(vector), NAME]
    done = subprocess.run(
        [str(PEER / "bin" / "python"), "-W", "ignore", "-c", CLIENT, *arguments],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    text, image, embedding, caption = json.loads(done.stdout.splitlines()[-1])
    assert text[0]["caption"] == CAPTIONS[2]
    assert all({"id", "similarity", "url", "caption", "image"} <= set(row) for row in text)
    assert len(text) == len(image) == len(embedding) == 5
    assert embedding[0]["caption"] == CAPTIONS[5]
    assert [row["caption"] for row in caption] == [CAPTIONS[2]]


@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no Chromium; apt-get install chromium")
def test_the_built_page_works_unmodified(port: int, page_server: tuple[Path, int]) -> None:
    from playwright.sync_api import sync_playwright

    folder, page_port = page_server
    config = httpx.get(f"http://127.0.0.1:{port}/config.json").json()
    (folder / "config.json").write_text(json.dumps(config))
    seen: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("response", lambda answer: seen.append(f"{answer.status} {answer.url}"))
        page.goto(f"http://127.0.0.1:{page_port}/")
        bar = page.locator("#searchBar")
        bar.fill(CAPTIONS[0])
        bar.press("Enter")
        page.wait_for_function(_SHOWN)
        shown: list[str] = page.evaluate(_CAPTIONS)
        assert shown[0] == CAPTIONS[0]
        assert len(shown) == len(CAPTIONS)
        index: Any = page.evaluate("document.querySelector('clip-front').currentIndex")
        assert index == NAME
        browser.close()
    knn = [line for line in seen if "knn-service" in line]
    assert knn
    assert all(line.startswith("200 ") for line in knn), knn


_SHOWN = "document.querySelector('clip-front').images?.length > 0"
_CAPTIONS = "document.querySelector('clip-front').images.map(row => row.caption)"
