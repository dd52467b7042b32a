"""A small real stage for tests: writes a shard's number times a factor."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.stage import Counts, Output, ShardFunction


@dataclass(frozen=True)
class Times:
    """Writes `shard * factor` twice; sleeps so that a test can kill it at work."""

    factor: int = 2
    sleep_sec: float = 0.0
    fail_at: str | None = None
    name: str = "times"
    version: int = 1
    in_process: bool = False

    def settings(self) -> Mapping[str, int]:
        """Only the factor shapes the output."""
        return {"factor": self.factor}

    def inputs(self, dataset: Dataset, shard: str) -> Mapping[str, str]:
        """A shard depends on its number."""
        return {"number": shard}

    @contextlib.contextmanager
    def start(self, dataset: Dataset) -> Iterator[ShardFunction]:
        """Gives the shard's function."""
        yield self._work

    def _work(self, shard: str, output: Output) -> Counts:
        if shard == self.fail_at:
            raise ValueError(f"shard {shard} is bad")
        for ending in ("txt", "bak"):
            time.sleep(self.sleep_sec)
            output.path(f"numbers/{shard}.{ending}").write_text(str(int(shard) * self.factor))
        output.advance(1)
        return {"rows": 1}
