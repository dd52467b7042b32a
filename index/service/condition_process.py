"""The process in which users' conditions run, so that their cost is bounded.

Reads a job per line of standard input, answers on standard output: a line of JSON, then as many
bytes of Arrow as it says. Some allowed functions cannot be interrupted (`levenshtein` of two long
texts runs for hours within one call) or allocate without asking DuckDB, so the bounds are those of
the operating system: the service kills this process when a condition's time is spent, and memory
has a limit here. It ends when its standard input does, even in the middle of a job.

`ConditionProcess` is the service's end, `main` this one.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

NICE = 10  # below searches, which are answered in milliseconds
_TIRED = 0.25  # of the allowed memory; a process that keeps more after a job is replaced


class OutOfMemory(Exception):
    """A job needed more memory than is allowed."""


class Ended(Exception):
    """The process ended, or was killed, before it answered."""


@dataclass(frozen=True)
class Evaluated:
    """A job's result, and whether its process should be replaced."""

    value: dict[str, Any]
    keys: pa.Array | None
    tired: bool


class ConditionProcess:
    """The service's end: starts the process and sends it one job at a time."""

    def __init__(self, memory_bytes: int) -> None:
        """Start it; returns before it is ready."""
        script = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import main; main()"
        # The system's allocator: memory then counts as it is used.
        environment = os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", script, str(memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # Ctrl-C is the service's
        )
        self._ready = False

    @property
    def alive(self) -> bool:
        """Whether it is still running."""
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        """Block until it is ready. Raises `Ended`."""
        if not self._ready:
            self._line()
            self._ready = True

    def ask(self, job: dict[str, Any]) -> Evaluated:
        """Block until a job is done.

        Raises the `UserError` that the job ended with, `OutOfMemory`, or `Ended`.
        """
        from frenchcat.curate import errors

        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise Ended from None
        said = self._line()
        keys = None
        if size := said.get("bytes", 0):
            data = self._process.stdout.read(size)
            if len(data) < size:
                raise Ended
            keys = _read(data)
        if "error" in said:
            kind = getattr(errors, said["error"])
            raise kind(*said["args"])
        if said.get("memory"):
            raise OutOfMemory
        if "failed" in said:
            raise RuntimeError(f"a condition's process failed: {said['failed']}")
        return Evaluated(said["value"], keys, said["tired"])

    def kill(self) -> None:
        """Kill it now, whatever it does; whoever waits for it gets `Ended`."""
        self._process.kill()
        threading.Thread(target=self.close, daemon=True).start()

    def close(self) -> None:
        """Wait for a killed process, and close its pipes once nobody reads them."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):  # a job that was not sent
                pipe.close()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise Ended
        found: dict[str, Any] = json.loads(line)
        return found


# -- within the process ----------------------------------------------------------------------------


def main() -> None:
    """Do jobs until standard input ends."""
    import queue

    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is not an answer
    jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read_jobs, args=(jobs,), daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(NICE)
    _import()
    limit = int(sys.argv[1])
    begun = _limit_memory(limit)
    _write(out, {})
    while True:
        said, data = _done(json.loads(jobs.get()))
        tired = _data_bytes() - begun > limit * _TIRED
        _write(out, {**said, "tired": tired, "bytes": len(data)}, data)


def _read_jobs(jobs: Any) -> None:
    for line in sys.stdin.buffer:
        jobs.put(line)
    os._exit(0)  # the service is gone; a running job would not notice


def _import() -> None:
    """Load what jobs need, before memory is limited and anybody waits."""
    import duckdb
    import pyarrow.compute
    import pyarrow.parquet

    from frenchcat.curate import select
    from frenchcat.index import visible

    duckdb.connect().execute("SELECT 1")
    _ = (pyarrow.compute, pyarrow.parquet, select, visible)


def _done(job: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """A job's answer: the line, and the bytes after it."""
    import duckdb
    import pyarrow as pa

    from frenchcat.curate.errors import UnknownColumn, UserError

    try:
        value, keys = _JOBS[job.pop("job")](**job)
        return {"value": value}, b"" if keys is None else _bytes(keys)
    except UnknownColumn as error:
        return {"error": "UnknownColumn", "args": [str(error), error.column]}, b""
    except UserError as error:
        from frenchcat.curate import errors

        kinds = [kind.__name__ for kind in type(error).__mro__ if hasattr(errors, kind.__name__)]
        return {"error": kinds[0], "args": [str(error)]}, b""
    except (MemoryError, duckdb.OutOfMemoryException, pa.ArrowMemoryError):
        return {"memory": True}, b""
    except Exception as error:
        if "bad_alloc" in str(error):
            return {"memory": True}, b""
        import traceback

        return {"failed": "".join(traceback.format_exception(error))}, b""


def _keys(root: str, where: str) -> tuple[dict[str, Any], pa.Array]:
    """The keys of the rows that meet a condition."""
    from frenchcat.curate.dataset import Dataset
    from frenchcat.index.visible import keys_meeting

    return {}, keys_meeting(Dataset(root), where)


def _select(
    root: str,
    name: str,
    where: str | None,
    limit: int | None,
    replace: bool,
    balance: str | None = None,
) -> tuple[dict[str, Any], None]:
    """Freeze a selection."""
    from frenchcat.curate import select
    from frenchcat.curate.dataset import Dataset
    from frenchcat.curate.errors import AlreadyThere

    dataset = Dataset(root)
    with dataset.lock():
        try:
            made = select.select(
                dataset, name, select.Choice(where=where, limit=limit, balance=balance), replace
            )
        except AlreadyThere:
            there = select.open_selection(dataset, name)
            return {"taken": {"rows": len(there), "digest": there.digest}}, None
    return {"rows": len(made), "digest": made.digest, "sql": made.sql}, None


_JOBS: dict[str, Any] = {"keys": _keys, "select": _select}


def _limit_memory(limit: int) -> int:
    """Allow this many bytes beyond present use, which is returned."""
    import resource

    used = _data_bytes()
    if used:  # else: a system whose limit has another meaning
        resource.setrlimit(resource.RLIMIT_DATA, (used + limit, used + limit))
    return used


def _data_bytes() -> int:
    """What RLIMIT_DATA counts; 0 if the system does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _write(out: IO[bytes], said: dict[str, Any], data: bytes = b"") -> None:
    out.write(json.dumps(said).encode() + b"\n" + data)
    out.flush()


def _bytes(keys: pa.Array) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    batch = pa.record_batch([keys], names=["key"])
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def _read(data: bytes) -> pa.Array:
    import pyarrow as pa

    with pa.ipc.open_stream(data) as reader:
        return reader.read_all()["key"].combine_chunks()
