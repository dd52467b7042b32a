"""The page on a phone: how soon a picture is there, what is sent for it, how far things jump.

    python -m bench.page                     a minute or two; needs Chromium and playwright

Serves the demo's dataset and opens "french cat" in a window of 390 x 844 pixels, nothing cached,
over a network of 150 ms and 1.6 Mbit/s, with a processor four times slower:

    first_picture_sec   from the address to the first picture that is there, middle of all rounds
    bytes, requests     of the page, its data and the pictures in the window
    shift               the layout shift (CLS) until then and for two seconds more
    above_pictures      the part of the window above the first picture
    scroll_fps          frames per second while the list is scrolled for 3 s, without these limits
    long_fps            the same in a list of 10,000 rows, all of which were fetched
    long_cards          how many of them are in the document
    long_heap_ratio     the page's JavaScript heap then, by that of a list of 1,000 rows

The long list's rows and pictures are made here, so that only the page is measured.

Writes .bench/results/page.json.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
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
LONG = 10_000  # rows
CHROMIUM = "/usr/bin/chromium"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")
WIDTH, HEIGHT = 390, 844
LATENCY_MS, BITS_PER_SEC, SLOWER = 150, 1_600_000, 4
_WATCH = """
window.shift = 0;
new PerformanceObserver(list => {
  for (const one of list.getEntries()) if (!one.hadRecentInput) window.shift += one.value;
}).observe({ type: "layout-shift", buffered: true });
"""
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


def main() -> None:
    """Serve, then open the page a few times."""
    parser = common.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dataset", default=None, help="by default the demo's")
    given = parser.parse_args()
    folder = given.dataset or _demo()
    load = common.load()
    serving = subprocess.Popen(
        [sys.executable, "-m", "frenchcat", "serve", folder, "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert serving.stdout is not None
        address = serving.stdout.readline().split('"')[3]
        rounds = [opened(address) for _ in range(given.rounds + 1)][1:]  # the first one warms up
        long = long_list(address)
    finally:
        serving.terminate()
        serving.wait()
    result = {name: common.median([one[name] for one in rounds]) for name in rounds[0]} | long
    common.keep("page", {**result, "load_before": load}, GOALS)


def opened(address: str) -> dict[str, float]:
    """One visit."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        window: Any = {"width": WIDTH, "height": HEIGHT}
        page = browser.new_context(viewport=window, has_touch=True).new_page()
        page.set_default_timeout(120_000)
        page.add_init_script(_WATCH)
        devices = page.context.new_cdp_session(page)
        devices.send("Network.enable")
        sizes: list[float] = []
        devices.on("Network.loadingFinished", lambda one: sizes.append(one["encodedDataLength"]))
        limits = {"offline": False, "latency": LATENCY_MS}
        speed = {"downloadThroughput": BITS_PER_SEC / 8, "uploadThroughput": BITS_PER_SEC / 8}
        devices.send("Network.emulateNetworkConditions", {**limits, **speed})
        devices.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
        page.goto(f"{address}?query=french cat", wait_until="commit")
        page.wait_for_selector(".card img.loaded")
        first = page.evaluate("performance.now()") / 1000
        page.wait_for_timeout(2000)
        top = page.evaluate("document.querySelector('.card .frame').getBoundingClientRect().top")
        found = {
            "first_picture_sec": first,
            "bytes": sum(sizes),
            "requests": float(len(sizes)),
            "shift": page.evaluate("window.shift"),
            "above_pictures": top / HEIGHT,
        }
        devices.send("Emulation.setCPUThrottlingRate", {"rate": 1})
        devices.send("Network.emulateNetworkConditions", {
            "offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1,
        })  # fmt: skip
        found["scroll_fps"] = page.evaluate(_SCROLL)
        browser.close()
    return found


def long_list(address: str) -> dict[str, float]:
    """A list of 10,000 rows, fetched to its end, then scrolled from its beginning."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_default_timeout(120_000)
        page.route("**/v1/browse", _rows)
        page.route("**/v1/thumbnails/**", lambda route: route.fulfill(body=_picture()))
        devices = page.context.new_cdp_session(page)
        heaps = {}
        page.goto(address)
        page.wait_for_selector(".card img.loaded")
        while page.locator("#more").is_visible():
            page.evaluate("scrollTo(0, document.body.scrollHeight)")
            page.wait_for_timeout(20)
            if "few" not in heaps and page.evaluate(_FETCHED) >= LONG // 10:
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


_FETCHED = "Number(document.querySelector('#results').lastChild.getAttribute('aria-posinset'))"


def _rows(route: Any) -> None:
    asked = route.request.post_data_json
    numbers = range(asked["skip"], min(LONG, asked["skip"] + asked["k"]))
    more = {"stored": True, "thumbnail": "/v1/thumbnails/long/x", "copies": 0}
    rows = [
        {"key": f"{n:09d}", "caption": f"row {n}, as long as most are", **more} for n in numbers
    ]
    route.fulfill(json={"rows": rows, "total": LONG, "dataset": "long", "next": None})


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
