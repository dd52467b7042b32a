"""robots.txt, tdmrep.json and ai.txt -> signals; hostile ones cost little and say nothing."""

import asyncio
import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frenchcat.curate.download.request import Hop
from frenchcat.curate.download.rights.settings import RightsSettings, SiteFile
from frenchcat.curate.download.rights.signal import FACT
from frenchcat.curate.download.rights.site_cache import SiteCache
from frenchcat.curate.download.rights.sites import SiteFileText, SiteRules, matches, usage_groups
from frenchcat.curate.reasons import FailureReason, FetchFailure
from frenchcat.curate.urls import WebURL, parse_url

AGENTS = ("frenchcat", "img2dataset")
URL = "http://a.example/pictures/cat.jpg"
PATH = "/pictures/cat.jpg"
FILES: tuple[SiteFile, ...] = ("robots", "tdmrep", "aitxt")


def decided(name: SiteFile, text: str, path: str = PATH) -> list[tuple[str, str | None]]:
    site = SiteRules({name: SiteFileText("http://a.example/file", text, "t")}, AGENTS)
    return [(s.signal, s.decision) for s in site.signals(f"http://a.example{path}", path)]


@given(st.text(alphabet="/ab*$", max_size=12), st.text(alphabet="/ab$", max_size=12))
def test_patterns_match_as_their_regular_expression_does(pattern: str, path: str) -> None:
    body = pattern.removesuffix("$")
    expression = ".*".join(re.escape(part) for part in body.split("*"))
    expression += "$" if pattern.endswith("$") else ""
    assert matches(pattern, path) == bool(re.match(expression, path))


def test_escaped_and_plain_spellings_are_one() -> None:
    assert matches("/caf%C3%A9/", "/café/x.jpg")
    assert matches("/café/*", "/caf%c3%a9/x.jpg")


@given(st.text(max_size=400), st.sampled_from(FILES))
def test_no_text_raises(text: str, name: SiteFile) -> None:
    decided(name, text)
    decided(name, f"User-agent: *\nDisallow: {text}\nContent-Usage: {text}")


NESTED = '[{"location": "/", "tdm-reservation": ' + "[" * 900 + "]" * 900 + "}]"
HOSTILE: list[tuple[SiteFile, str]] = [
    ("tdmrep", "[" * 500_000),
    ("tdmrep", '{"a":' * 100_000),
    ("tdmrep", NESTED),
    ("tdmrep", '[{"location": "/", "tdm-reservation": ' + "9" * 10_000 + "}]"),
    ("tdmrep", '[{"location": "/' + "*c" * 50_000 + '", "tdm-reservation": 1}]'),
    ("tdmrep", "<html>"),
    ("tdmrep", "null"),
    ("tdmrep", '[1, "x", null, {"location": 3}]'),
    ("robots", "\n" * 500_000),
    ("robots", "User-agent: *\nDisallow: /" + "*c" * 200_000),
    ("robots", "User-agent: *\nContent-Usage: train-ai" + " " * 500_000 + "!"),
    ("aitxt", " " * 500_000 + "x"),
    ("aitxt", "\n\t" * 250_000),
    ("aitxt", "\0\ud800"),
]


@pytest.mark.parametrize(("name", "text"), HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_files_are_quickly_done_with(name: SiteFile, text: str) -> None:
    began = time.process_time()
    assert {decision for _, decision in decided(name, text, "/" + "c" * 5000)} <= {None}
    assert time.process_time() - began < 2


def test_only_the_beginning_of_a_huge_robots_txt_is_read() -> None:
    rule = "User-agent: *\nDisallow: /\n"
    assert decided("robots", rule + "# x\n" * 500_000) == [("robots_txt", "opt_out")]
    assert decided("robots", "# x\n" * 500_000 + rule) == []


def test_groups_are_those_of_rfc_9309() -> None:
    text = (
        "Content-Usage: bots=y\nUser-agent: A\nUser-Agent: b # two\nAllow: /\n"
        "content-usage: /x train-ai=n\nUser-agent: *\nContent-Usage: train-ai=y\nnonsense\n"
    )
    assert usage_groups(text) == [
        ({"*"}, [("", "bots=y")]),
        ({"a", "b"}, [("/x", "train-ai=n")]),
        ({"*"}, [("", "train-ai=y")]),
    ]


def test_a_rule_for_us_by_name_goes_before_that_for_everybody() -> None:
    everybody = "User-agent: *\nContent-Usage: train-ai=n\n\n"
    text = everybody + "User-agent: FrenchCat\nContent-Usage: train-ai=y"
    assert decided("robots", text) == [("robots_content_usage", "allow")]


def ask(answers: dict[str, bytes | FetchFailure], **settings: object) -> list[tuple[str, str]]:
    """What a site cache finds out if the network answers this way."""

    async def get(url: WebURL) -> tuple[bytes, list[Hop]]:
        await asyncio.sleep(0)
        answer = answers.get(url.path, FetchFailure("http_404", ""))
        if isinstance(answer, FetchFailure):
            raise answer
        return answer, [Hop(str(url), 200, (), "")]

    async def run() -> list[tuple[str, str]]:
        site_cache = SiteCache(RightsSettings(**settings), get)  # type: ignore[arg-type]
        url = parse_url(URL)
        both = await asyncio.gather(site_cache.ask(url), site_cache.ask(url))
        assert both[0] is both[1] is site_cache.known(url)
        return [(s.signal, s.value) for s in both[0].signals(URL, PATH)]

    return asyncio.run(run())


@pytest.mark.parametrize(
    "reason",
    ["http_500", "http_503", "http_429", "deadline", "connection_lost", "bad_encoding"],
)
def test_a_robots_txt_that_cannot_be_had_is_not_taken_for_none(reason: str) -> None:
    failure = FetchFailure(reason, "it failed")
    with pytest.raises(FetchFailure, match=r"robots\.txt: it failed"):
        ask({"/robots.txt": failure})
    assert ask({"/robots.txt": failure}, policy="record") == [("robots_txt", f"not read: {reason}")]


@pytest.mark.parametrize("reason", ["http_404", "http_403", "empty_body", "too_many_redirects"])
def test_a_robots_txt_that_is_not_there_forbids_nothing(reason: str) -> None:
    assert ask({"/robots.txt": FetchFailure(reason, "")}) == []


def test_other_files_that_cannot_be_had_are_noted() -> None:
    failure = FetchFailure(FailureReason.DEADLINE, "")
    assert ask({"/ai.txt": failure}) == [("ai_txt", "not read: deadline")]


def test_sites_differ_by_scheme_host_and_port_and_are_asked_once() -> None:
    asked: list[str] = []

    async def get(url: WebURL) -> tuple[bytes, list[Hop]]:
        asked.append(str(url))
        return b"", [Hop(str(url), 200, (), "")]

    async def run() -> None:
        site_cache = SiteCache(RightsSettings(site_files=("robots",)), get)
        for url in ("http://a.example/1", "http://a.example/2", "https://a.example/1"):
            await site_cache.ask(parse_url(url)) if site_cache.known(
                parse_url(url)
            ) is None else None

    asyncio.run(run())
    assert asked == ["http://a.example/robots.txt", "https://a.example/robots.txt"]


def test_the_longest_rule_that_matches_holds() -> None:
    text = "User-agent: *\nContent-Usage: train-ai=n\nContent-Usage: /pictures/ train-ai=y\n"
    assert decided("robots", text) == [("robots_content_usage", "allow")]
    assert decided("robots", text, "/other.jpg") == [("robots_content_usage", "opt_out")]


def test_the_policy_beside_a_tdm_reservation_is_a_fact_of_the_same_file() -> None:
    entry = {"location": "/", "tdm-reservation": 1, "tdm-policy": "https://a.example/policy"}
    file = SiteFileText("http://a.example/file", json.dumps([entry]), "t")
    _, policy = SiteRules({"tdmrep": file}, AGENTS).signals(f"http://a.example{PATH}", PATH)
    said = ("tdm_policy", "https://a.example/policy", "http://a.example/file", "t", FACT)
    assert (policy.signal, policy.value, policy.where, policy.time, policy.decision) == said
