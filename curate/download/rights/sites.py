"""What a site's own files say about a URL: robots.txt, /.well-known/tdmrep.json, ai.txt.

Reads the files' texts, writes nothing. Broken files say nothing: a web page instead of one, invalid
JSON, a line that is not a rule. Files that were unavailable are noted as such. Cost per URL: linear
in its length and in the rules of its site.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from frenchcat.curate.download.rights import usage
from frenchcat.curate.download.rights.headers import product_token, reservation
from frenchcat.curate.download.rights.settings import SiteFile
from frenchcat.curate.download.rights.signal import FACT, OPT_OUT, Signal, shortened

if TYPE_CHECKING:
    from protego import Protego

PATHS: dict[SiteFile, str] = {
    "robots": "/robots.txt",
    "tdmrep": "/.well-known/tdmrep.json",
    "aitxt": "/ai.txt",
}
MAX_CHARS = 512 * 1024
"""Bytes of a file that are read; RFC 9309 2.5 asks for at least 500 kiB."""
_SIGNALS: dict[SiteFile, str] = {"robots": "robots_txt", "tdmrep": "tdmrep", "aitxt": "ai_txt"}
_NO_SLASH = re.compile(
    r"^([ \t]*(?:dis)?allow[ \t]*:[ \t]*)(?=[^/\s])", re.IGNORECASE | re.MULTILINE
)
_AGENT_LINE = re.compile(r"user[- ]?agent[\s:]", re.IGNORECASE)
Group = tuple[set[str], list[tuple[str, str]]]


@dataclass(frozen=True)
class SiteFileText:
    """A file of a site; `text` is None if the site has none.

    `failure` is the reason if that is unknown.
    """

    url: str
    text: str | None
    time: str | None = None
    failure: str | None = None


class SiteRules:
    """The files of one site; parsed once, asked for each of its URLs."""

    def __init__(self, files: dict[SiteFile, SiteFileText], agents: Sequence[str]) -> None:
        """Take the files that could be read."""
        self._files = files
        self._agents = [product_token(agent) for agent in agents]

    def signals(self, url: str, path: str) -> list[Signal]:
        """What they say about a URL with this path and query."""
        said = [*self._robots(url), *self._usage(path), *self._tdmrep(path), *self._ai(url)]
        return [*self._unread(), *said]

    def _unread(self) -> Iterator[Signal]:
        for name, file in self._files.items():
            if file.failure is not None:
                yield Signal(_SIGNALS[name], f"not read: {file.failure}", file.url, None, FACT)

    def _robots(self, url: str) -> Iterator[Signal]:
        file = self._files.get("robots")
        if self._robots_rules is None or file is None:
            return
        if agent := self._refused(self._robots_rules, url):
            yield Signal("robots_txt", f"Disallow for {agent}", file.url, file.time, OPT_OUT)

    def _ai(self, url: str) -> Iterator[Signal]:
        file = self._files.get("aitxt")
        if self._ai_rules is not None and file and (agent := self._refused(self._ai_rules, url)):
            yield Signal("ai_txt", f"Disallow for {agent}", file.url, file.time, OPT_OUT)

    def _usage(self, path: str) -> Iterator[Signal]:
        """The preferences for a path: those of the longest matching rule."""
        file = self._files.get("robots")
        matching = [
            (len(pattern), preference)
            for pattern, preference in self._usage_rules
            if not pattern or matches(pattern, path)
        ]
        if file is None or not matching:
            return
        longest = max(length for length, _ in matching)
        for value in (preference for length, preference in matching if length == longest):
            decision = usage.decision(value)
            yield Signal("robots_content_usage", shortened(value), file.url, file.time, decision)

    def _tdmrep(self, path: str) -> Iterator[Signal]:
        """The rights of the first entry whose location matches."""
        file = self._files.get("tdmrep")
        for entry in self._tdmrep_entries:
            location = entry.get("location")
            if not isinstance(location, str) or not matches(location, path):
                continue
            assert file is not None
            value = entry.get("tdm-reservation")
            # Other values might be nested arbitrarily deep.
            shown = value if isinstance(value, str | int | float) else type(value).__name__
            said = shortened(f"{location} tdm-reservation: {shown}")
            yield Signal("tdmrep", said, file.url, file.time, reservation(value))
            policy = entry.get("tdm-policy")
            if isinstance(policy, str) and policy:
                yield Signal("tdm_policy", shortened(policy), file.url, file.time, FACT)
            return

    def _refused(self, rules: Protego, url: str) -> str | None:
        """The first of our names that may not fetch a URL."""
        refused = (agent for agent in self._agents if not rules.can_fetch(url, f"{agent}/"))
        return next(refused, None)

    @cached_property
    def _robots_rules(self) -> Protego | None:
        return _parsed(self._text("robots"))

    @cached_property
    def _ai_rules(self) -> Protego | None:
        # ai.txt writes patterns without the leading slash: `Disallow: *.jpg`.
        text = self._text("aitxt")
        return _parsed(text and _NO_SLASH.sub(r"\1/", text))

    @cached_property
    def _usage_rules(self) -> list[tuple[str, str]]:
        groups = usage_groups(self._text("robots") or "")
        named = [rule for names, rules in groups if names & set(self._agents) for rule in rules]
        is_named = any(names & set(self._agents) for names, _ in groups)
        everybody = [rule for names, rules in groups if "*" in names for rule in rules]
        return named if is_named else everybody

    @cached_property
    def _tdmrep_entries(self) -> list[dict[str, Any]]:
        try:
            value = json.loads(self._text("tdmrep") or "[]")
        except (ValueError, RecursionError):
            return []
        entries = value if isinstance(value, list) else [value]
        return [entry for entry in entries if isinstance(entry, dict)]

    def _text(self, name: SiteFile) -> str | None:
        file = self._files.get(name)
        return None if file is None or file.text is None else file.text[:MAX_CHARS]


def usage_groups(robots: str) -> list[Group]:
    """Agents (lower case) and their Content-Usage rules (path or "", preference), in order.

    As RFC 9309 groups them: consecutive agents share the rules that follow. A rule before any agent
    is for everybody.
    """
    groups: list[Group] = []
    in_agents = False
    for line in robots.splitlines():
        name, colon, value = line.partition("#")[0].partition(":")
        name, value = name.strip().lower(), value.strip()
        if not colon:
            continue
        if name == "user-agent":
            if not in_agents:
                groups.append((set(), []))
            groups[-1][0].add(product_token(value))
        elif name == "content-usage":
            if not groups:
                groups.append(({"*"}, []))
            path, _, rest = value.partition(" ")
            rule = (path, rest.strip()) if path.startswith("/") else ("", value)
            groups[-1][1].append(rule)
        in_agents = name == "user-agent"
    return groups


def matches(pattern: str, path: str) -> bool:
    """Whether a path begins with a robots.txt pattern, with ``*`` and a closing ``$``.

    Not a regular expression: with many ``*`` one could take forever to fail.
    """
    pattern, path = unquote(pattern), unquote(path)
    first, *others = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    at = len(first)
    last = others.pop() if others and pattern.endswith("$") else None
    for part in others:
        found = path.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    if not pattern.endswith("$"):
        return True
    return at == len(path) if last is None else path.endswith(last) and len(path) - len(last) >= at


def _whole_name(line: str) -> str:
    """A line of robots.txt; where it names an agent, with its product token and a closing slash.

    protego takes the beginning of a name for the name (``User-agent: img`` for img2dataset), and
    none with a version (``img2dataset/1.0``).
    """
    line = line.partition("#")[0].strip()
    found = _AGENT_LINE.match(line)
    name = line[found.end() :].strip().removeprefix(":").strip() if found else ""
    return line if not name or "*" in name else f"User-agent: {product_token(name)}/"


def _parsed(text: str | None) -> Protego | None:
    if not text:
        return None
    from protego import Protego

    try:
        return Protego.parse("\n".join(_whole_name(line) for line in text.splitlines()))
    except Exception:  # a stranger's file may do anything to the parser
        return None
