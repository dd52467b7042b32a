"""What a long build tells programs: a log of JSON lines, and figures for Prometheus.

Both pass on what they hear, so that bars are drawn all the same. A log or figures that can no
longer be written are named once, and the build goes on.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from frenchcat.curate.errors import UserError, first_line
from frenchcat.curate.json_text import json_text
from frenchcat.curate.outputs import check_outside
from frenchcat.curate.stage import Progress
from frenchcat.curate.system_errors import writing
from frenchcat.progress import Bars, StageClock
from frenchcat.terminal import tell

_WRITE_EVERY_SEC = 5.0


@contextlib.contextmanager
def watched(log: Path | None = None, metrics: str | None = None) -> Iterator[Progress]:
    """Bars, and what else was asked for: a log's path; a port, or a path ending in ``.prom``.

    Raises `UserError` for a path that cannot be written or lies in a dataset, and for a port that
    is not one or not free.
    """
    with contextlib.ExitStack() as stack:
        progress: Progress = Bars()
        if log is not None:
            progress = stack.enter_context(BuildLog(log, progress))
        if metrics is not None:
            progress = stack.enter_context(BuildMetrics(metrics, progress))
        yield progress


class BuildLog:
    """One JSON object per line: time, event, stage, and what the event says."""

    def __init__(self, path: Path, told: Progress) -> None:
        check_outside(path, "--log")
        self._path, self._told = path, told
        self._clock = StageClock("", 0)

    def __enter__(self) -> BuildLog:
        with writing(self._path, "name another file with --log"):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self._path, "a", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        if error is not None:
            self._write("failed", error=first_line(error))
        with contextlib.suppress(OSError):
            self._file.close()

    def _write(self, event: str, **more: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json_text({"time": now, "event": event, "stage": self._clock.stage, **more})
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except (OSError, ValueError) as error:  # closed after an earlier error
            if not self._file.closed:
                tell(f"note: {self._path} is no longer written: {first_line(error)}")
                with contextlib.suppress(OSError):
                    self._file.close()

    def begin(self, stage: str, shards: int) -> None:
        """Log it."""
        self._clock = StageClock(stage, shards)
        self._write("stage_begins", shards=shards)
        self._told.begin(stage, shards)

    def advance(self, rows: int) -> None:
        """Count."""
        self._clock.rows += rows
        self._told.advance(rows)

    def shard_done(self, shard: str, counts: Mapping[str, int]) -> None:
        """Log the shard's counts, and when the stage may end."""
        self._clock.done += 1
        self._write(
            "shard_done",
            shard=shard,
            counts=dict(counts),
            shards_done=self._clock.done,
            shards=self._clock.shards,
            rows=self._clock.rows,
            remaining_sec=_rounded(self._clock.remaining_sec()),
        )
        self._told.shard_done(shard, counts)

    def end(self) -> None:
        """Log what the stage came to."""
        clock = self._clock
        self._write(
            "stage_ends",
            shards_done=clock.done,
            shards=clock.shards,
            rows=clock.rows,
            sec=_rounded(clock.sec()),
        )
        self._told.end()


def _rounded(sec: float | None) -> float | None:
    return None if sec is None else round(sec, 1)


class BuildMetrics:
    """Figures of the running stage, at a port of this machine or in a file for node_exporter."""

    def __init__(self, place: str, told: Progress) -> None:
        from prometheus_client import CollectorRegistry, Gauge

        self._told, self._place = told, place
        self.registry = CollectorRegistry()
        self._clock, self._written = StageClock("", 0), 0.0

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"frenchcat_build_{name}", text, ["stage"], registry=self.registry)

        self._running = gauge("running", "1 while the stage runs")
        self._shards = gauge("shards", "Shards that the stage works on in this run")
        self._done = gauge("shards_done", "Of them, those that are done")
        self._rows = gauge("rows_done", "Rows that are done")
        self._sec = gauge("seconds", "Seconds since the stage began, or that it took")
        self._left = gauge("remaining_seconds", "Seconds until it may end")
        self._counts = Gauge(
            "frenchcat_build_counted_rows",
            "Rows of finished shards by what became of them",
            ["stage", "count"],
            registry=self.registry,
        )
        self._failed = Gauge(
            "frenchcat_build_failed", "1 if the command failed", registry=self.registry
        )

    def __enter__(self) -> BuildMetrics:
        self._served = self._file = None
        if self._place.endswith(".prom"):
            self._file = Path(self._place)
            check_outside(self._file, "--metrics")
            with writing(self._file, "name another file with --metrics"):
                self._file.parent.mkdir(parents=True, exist_ok=True)
                self._file.touch()
        else:
            self._served = self._serve()
        return self

    def _serve(self) -> Any:
        from prometheus_client import start_http_server

        if not self._place.isdigit() or not 0 < int(self._place) < 65_536:
            raise UserError(
                f"--metrics {self._place} is neither a port from 1 to 65535 nor a file that ends "
                "in .prom"
            )
        try:
            return start_http_server(int(self._place), "127.0.0.1", registry=self.registry)
        except OSError as error:
            raise UserError(
                f"--metrics {self._place}: the port is not free ({error.strerror}); give another"
            ) from None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._failed.set(int(kind is not None))
        self._write(now=True)
        if self._served is not None:
            server, thread = self._served
            server.shutdown()
            server.server_close()
            thread.join()

    def begin(self, stage: str, shards: int) -> None:
        """Show it."""
        self._clock = StageClock(stage, shards)
        self._running.labels(stage).set(int(shards > 0))
        self._shards.labels(stage).set(shards)
        self._update(now=True)
        self._told.begin(stage, shards)

    def advance(self, rows: int) -> None:
        """Count."""
        self._clock.rows += rows
        self._update()
        self._told.advance(rows)

    def shard_done(self, shard: str, counts: Mapping[str, int]) -> None:
        """Count."""
        self._clock.done += 1
        for name, number in counts.items():
            self._counts.labels(self._clock.stage, name).inc(number)
        self._update()
        self._told.shard_done(shard, counts)

    def end(self) -> None:
        """Keep the last figures."""
        self._running.labels(self._clock.stage).set(0)
        self._update(now=True)
        self._told.end()

    def _update(self, now: bool = False) -> None:
        clock = self._clock
        self._done.labels(clock.stage).set(clock.done)
        self._rows.labels(clock.stage).set(clock.rows)
        self._sec.labels(clock.stage).set(clock.sec())
        left = clock.remaining_sec()
        self._left.labels(clock.stage).set(float("nan") if left is None else left)
        self._write(now)

    def _write(self, now: bool) -> None:
        from prometheus_client import write_to_textfile

        if self._file is None or not (now or time.monotonic() - self._written > _WRITE_EVERY_SEC):
            return
        self._written = time.monotonic()
        try:
            write_to_textfile(str(self._file), self.registry)
        except OSError as error:
            tell(f"note: {self._file} is no longer written: {first_line(error)}")
            self._file = None
