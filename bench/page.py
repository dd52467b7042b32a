"""The page on a phone: how soon a picture is there, what is sent for it, how far things jump.

    python -m bench.page                     some minutes; needs Chromium and playwright

Serves the demo's dataset and opens "french cat" in a window of 390 x 844 pixels, nothing cached,
over a network of 150 ms and 1.6 Mbit/s, with a processor four times slower; in turns with the page
that clip-retrieval's package contains, which asks the same service at clip-retrieval's routes and
is told to show the stored pictures (`theirs`):

    first_picture_sec   from the address to the frame after the first picture has loaded, median
    bytes, requests     of the page, its data and the pictures, until two seconds after that
    shift               the layout shift (CLS) until then and for two seconds more
    above_pictures      the part of the window above the first picture
    scroll_fps          frames per second while the list is scrolled for 3 s, without these limits
    long_fps            the same in a list of 10,000 rows, all of which were fetched
    long_cards          how many of them are in the document
    long_heap_ratio     the page's JavaScript heap then, by that of a list of 1,000 rows
    some_fps            the same in a list of 2,000 rows, in both pages

The long lists' rows and pictures are made here, so that only the page is measured.

Writes .bench/results/page.json.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench import _common as common
from bench._common import BENCH

GOALS = {
    "first_picture_sec": ("<=", 2.0),
    "shift": ("<=", 0.1),
    "above_pictures": ("<=", 0.25),
    "long_fps": (">=", 50.0),
    "long_heap_ratio": ("<=", 5.0),
}
LONG, SOME = 10_000, 2_000  # rows
PEER = "clip-retrieval==2.45.0"
CHROMIUM = "/usr/bin/chromium"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")
WIDTH, HEIGHT = 390, 844
LATENCY_MS, BITS_PER_SEC, SLOWER = 150, 1_600_000, 4
_WATCH = """
window.shift = 0;
new PerformanceObserver(list => {
  for (const one of list.getEntries()) if (!one.hadRecentInput) window.shift += one.value;
}).observe({ type: "layout-shift", buffered: true });
const watch = root => root.addEventListener("load", ({ target }) => {
  if (!target.matches?.(PICTURE)) return;
  requestAnimationFrame(() => (window.firstPicture ??= performance.now()));
}, true);
watch(document);
const attach = Element.prototype.attachShadow;
Element.prototype.attachShadow = function (how) {
  const root = attach.call(this, how);
  watch(root);  // events of pictures do not leave it
  return root;
};
"""
_FIRST = """async () => {
  while (!window.firstPicture) await new Promise(requestAnimationFrame);
  return window.firstPicture;
}"""
_SCROLL = """async () => {
  let frames = 0, on = true;
  const count = () => { frames += 1; if (on) requestAnimationFrame(count); };
  requestAnimationFrame(count);
  const begun = performance.now();
  while (performance.now() - begun < 3000) {
    scrollBy(0, 80);
    await new Promise(requestAnimationFrame);
  }
  on = false;
  return frames / ((performance.now() - begun) / 1000);
}"""


@dataclass(frozen=True)
class Shown:
    """A page with the results of "french cat", and what a result's picture is in it."""

    address: str
    picture: str


def main() -> None:
    """Serve, then open both pages a few times, in turns."""
    parser = common.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dataset", default=None, help="by default the demo's")
    given = parser.parse_args()
    folder = given.dataset or _demo()
    load = common.load()
    with peer_page() as (build, peer), _serving(folder, peer) as address:
        config = {"defaultBackend": address.rstrip("/"), "urlColumn": "none"}
        name = json.loads(_get(f"{address}indices-list"))[0]
        (build / "config.json").write_text(json.dumps({**config, "defaultIndex": name}))
        ours = Shown(f"{address}?query=french cat", ".card img")
        theirs = Shown(f"{peer}?query=french cat", "img.pic")
        rounds: dict[str, list[dict[str, float]]] = {"ours": [], "theirs": []}
        for turn in range(given.rounds + 1):
            for who, shown in (("ours", ours), ("theirs", theirs)):
                found = opened(shown)
                if turn:  # the first one warms up
                    rounds[who].append(found)
        long = long_list(address, LONG) | {"some_fps": long_list(address, SOME)["long_fps"]}
        their_fps = their_list(peer)
    middle = {
        who: {name: common.median([one[name] for one in found]) for name in found[0]}
        for who, found in rounds.items()
    }
    theirs_kept = {**middle["theirs"], "some_fps": their_fps, "version": PEER}
    single = {who: [one["first_picture_sec"] for one in found] for who, found in rounds.items()}
    result = {**middle["ours"], **long, "theirs": theirs_kept, "first_picture_rounds": single}
    common.keep("page", {**result, "load_before": load}, GOALS)


@contextlib.contextmanager
def _serving(folder: str, peer: str) -> Iterator[str]:
    """The address of our service, which answers the peer's page, too."""
    command = [sys.executable, "-m", "frenchcat", "serve", folder, "--port", "0", "--json"]
    origin = peer.rstrip("/")
    with subprocess.Popen(
        [*command, "--cors", origin], stdout=subprocess.PIPE, text=True
    ) as serving:
        try:
            assert serving.stdout is not None
            yield serving.stdout.readline().split('"')[3]
        finally:
            serving.terminate()


@contextlib.contextmanager
def peer_page() -> Iterator[tuple[Path, str]]:
    """The folder and the address of clip-retrieval's built page, without its dependencies."""
    folder = BENCH / "clip-retrieval-page"
    if not (folder / "front" / "build" / "index.html").is_file():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target"]
        common.run([*pip, folder, PEER], "install-clip-retrieval-page")
    build = folder / "front" / "build"

    class Quiet(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # keeps connections, as its own server does

        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(build))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield build, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def _get(address: str) -> bytes:
    import urllib.request

    with urllib.request.urlopen(address) as answer:
        return bytes(answer.read())


def opened(shown: Shown) -> dict[str, float]:
    """One visit."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        window: Any = {"width": WIDTH, "height": HEIGHT}
        page = browser.new_context(viewport=window, has_touch=True).new_page()
        page.set_default_timeout(120_000)
        page.add_init_script(f"const PICTURE = {json.dumps(shown.picture)};\n{_WATCH}")
        devices = page.context.new_cdp_session(page)
        devices.send("Network.enable")
        sizes: list[float] = []
        devices.on("Network.loadingFinished", lambda one: sizes.append(one["encodedDataLength"]))
        limits = {"offline": False, "latency": LATENCY_MS}
        speed = {"downloadThroughput": BITS_PER_SEC / 8, "uploadThroughput": BITS_PER_SEC / 8}
        devices.send("Network.emulateNetworkConditions", {**limits, **speed})
        devices.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
        page.goto(shown.address, wait_until="commit")
        page.locator(shown.picture).first.wait_for(state="attached")
        first = page.evaluate(_FIRST) / 1000
        page.wait_for_timeout(2000)
        picture = page.locator(shown.picture).first
        found = {
            "first_picture_sec": first,
            "bytes": sum(sizes),
            "requests": float(sum(size > 0 for size in sizes)),  # others: data URLs, the cache
            "shift": page.evaluate("window.shift"),
            "above_pictures": picture.evaluate("one => one.getBoundingClientRect().top") / HEIGHT,
        }
        devices.send("Emulation.setCPUThrottlingRate", {"rate": 1})
        devices.send("Network.emulateNetworkConditions", {
            "offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1,
        })  # fmt: skip
        found["scroll_fps"] = page.evaluate(_SCROLL)
        browser.close()
    return found


def long_list(address: str, count: int) -> dict[str, float]:
    """A list of so many rows, fetched to its end, then scrolled from its beginning."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_default_timeout(120_000)
        page.route("**/v1/browse", functools.partial(_rows, count))
        page.route("**/v1/thumbnails/**", lambda route: route.fulfill(body=_picture()))
        devices = page.context.new_cdp_session(page)
        heaps = {}
        page.goto(address)
        page.wait_for_selector(".card img.loaded")
        while page.locator("#more").is_visible():
            page.evaluate("scrollTo(0, document.body.scrollHeight)")
            page.wait_for_timeout(20)
            if "few" not in heaps and page.evaluate(_FETCHED) >= count // 10:
                heaps["few"] = _heap(devices)
        heaps["all"] = _heap(devices)
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(500)
        found = {
            "long_fps": page.evaluate(_SCROLL),
            "long_cards": float(page.locator(".card").count()),
            "long_heap_ratio": heaps["all"] / heaps["few"],
        }
        browser.close()
    return found


def their_list(address: str) -> float:
    """Frames per second in the peer's page with 2,000 cards, as after scrolling that far."""
    from playwright.sync_api import sync_playwright

    rows = [
        {
            "id": n,
            "similarity": 0.3,
            "caption": f"row {n}, as long as most are",
            "none": f"/{n}.jpg",
        }
        for n in range(SOME)
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_default_timeout(120_000)
        allowed = {"Access-Control-Allow-Origin": "*"}
        page.route("**/knn-service", lambda route: route.fulfill(json=rows, headers=allowed))
        page.route("**/*.jpg", lambda route: route.fulfill(body=_picture()))
        page.goto(f"{address}?query=all")
        page.locator("img.pic").nth(SOME - 1).wait_for()
        page.wait_for_load_state("networkidle")  # it loads all pictures at once
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(500)
        fps = float(page.evaluate(_SCROLL))
        browser.close()
    return fps


_FETCHED = "Number(document.querySelector('#results').lastChild.getAttribute('aria-posinset'))"


def _rows(count: int, route: Any) -> None:
    asked = route.request.post_data_json
    numbers = range(asked["skip"], min(count, asked["skip"] + asked["k"]))
    more = {"stored": True, "thumbnail": "/v1/thumbnails/long/x", "copies": 0}
    rows = [
        {"key": f"{n:09d}", "caption": f"row {n}, as long as most are", **more} for n in numbers
    ]
    route.fulfill(json={"rows": rows, "total": count, "dataset": "long", "next": None})


@cache
def _picture() -> bytes:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.linear_gradient("L").resize((160, 160)).convert("RGB").save(file, "JPEG")
    return file.getvalue()


def _heap(devices: Any) -> float:
    """Bytes of the page's JavaScript heap, garbage left out."""
    devices.send("HeapProfiler.collectGarbage")
    return float(devices.send("Runtime.getHeapUsage")["usedSize"])


def _demo() -> str:
    out = BENCH / "start"
    if not (out / "french-cat.html").is_file():
        shutil.rmtree(out, ignore_errors=True)
        common.ours("demo", "--no-train", "--out", out)
    return str(out / "dataset")


if __name__ == "__main__":
    main()
