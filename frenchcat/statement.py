"""A signed statement: what was found of an image, what was done, and what cannot be undone.

    statement.json    found rows, selections, steps, checkpoints; the removal; what is not proven
    statement.html    the same to read, made from the JSON alone
    statement.jws     the JSON's detached signature (train/signatures.py)

`frenchcat verify statement.json` checks the signature and that the page says what the JSON says.
The statement names URLs and digests of the rows that were asked about, no captions and no folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat import __version__
from frenchcat.curate import removals
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.dataset import Dataset, file_sha256
from frenchcat.curate.errors import UserError
from frenchcat.curate.export import new_folder
from frenchcat.curate.html_page import head
from frenchcat.curate.json_text import json_text
from frenchcat.curate.removals import Request
from frenchcat.curate.safe_text import for_html
from frenchcat.train.signatures import SignatureFinding, check_clock, signed, verified_bytes

if TYPE_CHECKING:
    from frenchcat.train.credentials import Credentials
    from frenchcat.used import Uses

KIND = "frenchcat statement of use"
JSON, PAGE, SIGNATURE = "statement.json", "statement.html", "statement.jws"
LIMITS = (
    "That a row was drawn at a step does not say what the model kept of it.",
    "A copy that differs in more than the thresholds of frenchcat's duplicates is not found.",
    "A removal does not reach copies of the dataset and checkpoints that were handed on before.",
    "A checkpoint that was trained on the rows cannot forget them; the remedy is to train again "
    "from a selection that was made after the removal.",
)
_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;
padding:.3rem .6rem;border-bottom:1px solid #ccc;overflow-wrap:anywhere}"""


def statement_of(
    dataset: Dataset, uses: Uses, request: Request | None, now: datetime
) -> dict[str, Any]:
    """What statement.json says; JSON-able. Raises `UserError` if the clock is behind the log."""
    removals.check_clock(dataset, now)
    by, value = uses.asked
    asked: dict[str, Any] = {by: value}
    if by == "like":
        asked = {"like": Path(value).name, "sha256": file_sha256(Path(value))}
    done: dict[str, Any] | None = None
    if request is not None:
        done = {"request": request.number, "time": request.time, "rows": len(request.keys)}
    rows = [
        {"key": one.key, "why": one.why, "url": one.url, "sha256": one.columns.get("sha256")}
        for one in uses.matches
    ]
    runs = [{**use.as_dict(), "run": Path(use.run).name} for use in uses.runs]
    return {
        "kind": KIND,
        "version": 1,
        "time": now.isoformat(timespec="seconds"),
        "made_by": f"frenchcat {__version__}",
        "dataset": dataset.manifest().name,
        "asked": asked,
        "found": {"rows": rows, "selections": uses.selections, "runs": runs},
        "removal": done,
        "cannot_forget": [
            {"run": run["run"], "checkpoint": name} for run in runs for name in run["cannot_forget"]
        ],
        "limits": list(LIMITS),
    }


def check_can_sign(dataset: Dataset, credentials: Credentials) -> None:
    """Raise `UserError` if the clock is wrong: before a statement, and before anything is done."""
    now = datetime.now(UTC)
    check_clock(credentials, now)
    removals.check_clock(dataset, now)


def write_statement(value: Mapping[str, Any], folder: Path, credentials: Credentials) -> None:
    """Write the three files into a new or empty folder. Raises `UserError`."""
    data = (json_text(dict(value), indent=1) + "\n").encode()
    signature = signed(data, credentials)
    with new_folder(folder, 3 * len(data), "a statement", "--statement") as partial:
        (partial / JSON).write_bytes(data)
        (partial / PAGE).write_text(page_of(data), encoding="utf-8")
        (partial / SIGNATURE).write_text(signature + "\n", encoding="ascii")


def verify_statement(path: Path, trust: bytes = b"") -> dict[str, Any]:
    """What the signature beside a statement.json says: intact, signer, key, page, `words`.

    `page` is whether statement.html beside it says what the JSON says; None without one. `doubts`
    are about the time that it names. Raises `UserError` for a file that is not a statement, or that
    has no signature beside it.
    """
    beside = path.with_name(SIGNATURE)
    try:
        data = path.read_bytes()
        signature = beside.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not ASCII"
        named = getattr(error, "filename", None) or beside
        raise UserError(
            f"{path}: the statement and {SIGNATURE} beside it are needed ({named}: {why})"
        ) from None
    value = _parsed(path, data)
    finding = verified_bytes(data, signature, trust)
    html = path.with_name(PAGE)
    page = _says_the_same(html, data) if html.exists() else None
    doubts = _doubts(value, finding, datetime.now(UTC))
    return {
        "statement": str(path),
        "intact": finding.intact and page is not False,
        "signer": finding.signer,
        "key": finding.key,
        "page": page,
        "doubts": doubts,
        "words": _words(finding.intact, finding.signer, finding.key, page, value, doubts),
    }


def _says_the_same(html: Path, data: bytes) -> bool:
    try:
        return html.read_bytes() == page_of(data).encode()
    except (KeyError, TypeError, AttributeError, ValueError):  # no page follows from such a JSON
        return False


def _doubts(value: Mapping[str, Any], finding: SignatureFinding, now: datetime) -> list[str]:
    """What is wrong with the time that a statement says it was made at."""
    try:
        made = datetime.fromisoformat(str(value.get("time")))
        late = made > now
    except (ValueError, TypeError):  # no time, or one without a zone
        return [f"its time is {value.get('time')!r}, which is not a time with a zone"]
    doubts = []
    if not finding.begins <= made <= finding.ends:
        doubts.append(
            f"its time is outside the validity of the signer's certificate "
            f"({finding.begins:%Y-%m-%d} to {finding.ends:%Y-%m-%d})"
        )
    if late:
        doubts.append(
            f"its time lies after this machine's clock ({now:%Y-%m-%d %H:%M} UTC): one of the "
            "clocks is wrong"
        )
    return doubts


def _parsed(path: Path, data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        value = None
    if not isinstance(value, dict) or value.get("kind") != KIND:
        raise UserError(f"{path} is not a statement of frenchcat used --statement")
    return value


def _words(
    intact: bool,
    signer: str,
    key: str,
    page: bool | None,
    value: Mapping[str, Any],
    doubts: Sequence[str],
) -> list[str]:
    if not intact:
        return ["CHANGED since it was signed; do not trust what it says"]
    by = {
        "own": "by your own self-issued key",
        "known": f"by {signer}, whom you trust",
        "unknown": f"by {signer!r}, an unknown key; anyone can make one",
    }[key]
    told = {
        True: f"{PAGE} says the same",
        False: f"{PAGE} was CHANGED: it does not say what {JSON} says",
        None: f"there is no {PAGE} beside it",
    }[page]
    said = [f"unchanged since it was signed {by}", told, f"  time: {value.get('time')}"]
    return said + [f"  but {doubt}" for doubt in doubts]


def page_of(data: bytes) -> str:
    """The page of a statement.json's bytes; the same bytes give the same page."""
    value = json.loads(data)
    asked = ", ".join(f"{name} {said}" for name, said in value["asked"].items())
    found = value["found"]
    parts = [
        f"<h1>Has it been used?</h1><p>Asked for: <b>{for_html(asked)}</b>, in the dataset "
        f"<b>{for_html(value['dataset'])}</b>, at {for_html(value['time'])}.</p>",
        f"<h2>Found</h2><p>{len(found['rows'])} rows.</p>",
        _table(
            ("Row", "Found by", "URL", "SHA-256"),
            [(r["key"], r["why"], r["url"] or "", r["sha256"] or "") for r in found["rows"]],
        ),
        "<h2>Selections</h2>",
        _table(("Selection", "Of these rows"), list(found["selections"].items())),
        "<h2>Training</h2>",
        _table(
            ("Run", "Selection", "Of these rows", "Drawn", "At steps"),
            [_run_row(run) for run in found["runs"]],
        ),
        "<h2>What was done</h2>",
        _removal(value["removal"]),
        "<h2>Checkpoints that cannot forget</h2>",
        _table(
            ("Run", "Checkpoint"),
            [(one["run"], one["checkpoint"]) for one in value["cannot_forget"]],
        ),
        "<h2>What this does not prove</h2><ul>"
        + "".join(f"<li>{for_html(limit)}</li>" for limit in value["limits"])
        + "</ul>",
        f"<p>Made by {for_html(value['made_by'])} from {JSON} (SHA-256 "
        f"{hashlib.sha256(data).hexdigest()}), whose signature is {SIGNATURE}. To check both: "
        f"<code>{shell_command('verify', JSON)}</code></p>",
    ]
    return (
        # `verify` makes the page again, so its bytes stay as they were.
        head("Has it been used?", _STYLE, private="") + "\n".join(parts) + "</body></html>\n"
    )


def _run_row(run: Mapping[str, Any]) -> tuple[Any, ...]:
    steps = sorted(step for drawn in run["steps"].values() for step in drawn)
    shown = ", ".join(map(str, dict.fromkeys(steps))) or "none"
    return run["run"], run["selection"] or "", len(run["steps"]), f"{len(steps)} times", shown


def _removal(done: Mapping[str, Any] | None) -> str:
    if done is None:
        return "<p>Nothing was removed.</p>"
    return (
        f"<p>Removal request {done['request']} of {for_html(done['time'])}: {done['rows']} rows "
        "are gone from search, selections and exports, and later crawls leave them out.</p>"
    )


def _table(names: tuple[str, ...], rows: list[Any]) -> str:
    if not rows:
        return "<p>None.</p>"
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{for_html(cell)}</td>" for cell in row) + "</tr>\n" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"
