"""The service's measurements for Prometheus: clip-retrieval's histograms by its names, and ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

FULL = "full_knn_request_time"
STEPS = {
    "download_time": "Time spent downloading an url",
    "text_clip_inference_time": "Time spent doing a text clip inference",
    "image_clip_inference_time": "Time spent doing a image clip inference",
    "metadata_get_time": "Time spent retrieving metadata",
    "knn_index_time": "Time spent doing a knn on the index",
    "dedup_time": "Time spent deduping",
    "safety_time": "Time spent doing a safety inference",
    "image_prepro_time": "Time spent doing the image preprocessing",
    "text_prepro_time": "Time spent doing the text preprocessing",
}
DRAW = "draw_time"
_SECONDS = (
    *(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 30.0, 60.0),
)


class Metrics:
    """One application's numbers; a registry of their own, so that two can coexist."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        about = {FULL: "Time spent processing knn request", **STEPS}
        about[DRAW] = "Time spent drawing a prompt, its waiting left out"
        self._times = {
            name: Histogram(name, text, registry=self.registry, buckets=_SECONDS)
            for name, text in about.items()
        }
        self.requests = Counter(
            "http_requests", "Requests answered", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "http_request_seconds",
            "Time to an answer's last byte",
            ["route"],
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.running = Gauge(
            "http_requests_running", "Requests being answered", registry=self.registry
        )
        self.batch = Histogram(
            "text_batch_size",
            "Texts encoded together",
            registry=self.registry,
            buckets=(1, 2, 4, 8, 16, 32, 64),
        )
        self.drawn = Counter("drawn_pictures", "Images drawn", registry=self.registry)
        self.drawings = Gauge(
            "drawings_running", "Prompts being drawn, or waiting", registry=self.registry
        )
        self.rows = Gauge("index_rows", "Rows of an index", ["dataset"], registry=self.registry)
        self.swaps = Counter(
            "index_swaps", "New versions taken up", ["dataset"], registry=self.registry
        )

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Measure a block as one observation of a histogram."""
        begun = perf_counter()
        try:
            yield
        finally:
            self._times[name].observe(perf_counter() - begun)

    def observe(self, name: str, sec: float) -> None:
        """One observation of a histogram."""
        self._times[name].observe(sec)

    def exposition(self) -> bytes:
        """All numbers in Prometheus' text format."""
        return generate_latest(self.registry)

    def summary(self) -> str:
        """How the average request's time is spent, as text; clip-retrieval's /metrics-summary."""
        count, average = self._average(FULL)
        if not count:
            return "No request yet, go do some"
        rows = [(name, text, *self._average(name)) for name, text in STEPS.items()]
        rows.sort(key=lambda row: -row[3])
        lines = [
            f"Among {count:.1f} calls to the knn end point with an average latency of "
            f"{average:0.4f}s per request, the step costs are (in order): ",
            "",
            f"   {'name':>26}  {'description':>41}  {'calls':>7}  {'average':>8}  proportion",
        ]
        for number, (name, text, calls, mean) in enumerate(rows):
            share = f"{mean / average * 100:0.1f}%"
            lines.append(
                f"{number:<2} {name:>26}  {text:>41}  {calls:>7.0f}  {mean:>7.4f}s  {share:>10}"
            )
        return "\n".join(lines)

    def _average(self, name: str) -> tuple[float, float]:
        (family,) = self._times[name].collect()
        values = {sample.name: sample.value for sample in family.samples}
        count = values[f"{name}_count"]
        return count, values[f"{name}_sum"] / count if count else 0.0
