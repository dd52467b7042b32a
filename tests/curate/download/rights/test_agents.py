"""Whose statements are for us: agents in X-Robots-Tag, robots.txt and ai.txt, and which answers."""

from dataclasses import replace
from email.message import Message
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from frenchcat.curate.download.request import Hop
from frenchcat.curate.download.rights.headers import header_signals
from frenchcat.curate.download.rights.settings import SiteFile
from frenchcat.curate.download.rights.signal import OPT_OUT
from frenchcat.curate.download.rights.sites import SiteFileText, SiteRules
from frenchcat.curate.download.rights.usage import decision
from frenchcat.curate.download.upstream import img2dataset_module

AGENTS = ("frenchcat", "img2dataset")
OPT_OUT_RULES = ("noai", "noimageai", "noindex", "noimageindex", "none")
RULES = (*OPT_OUT_RULES, "nofollow", "noarchive", "all", "indexifembedded")
HOP = "http://a.example/x.jpg"


def opts_out(*values: str, name: str = "X-Robots-Tag", status: int = 200) -> bool:
    hop = Hop(HOP, status, tuple((name, value) for value in values), "")
    return any(signal.decision == OPT_OUT for signal in header_signals([hop], AGENTS))


# -- X-Robots-Tag ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", OPT_OUT_RULES)
def test_each_rule_opts_out_however_it_is_said_to_us_and_not_when_to_another(rule: str) -> None:
    for value in (rule, rule.upper(), f"all, {rule}", f"nofollow;{rule}", f"*: {rule}"):
        assert opts_out(value), value
    for value in (f"img2dataset: {rule}", f"FrenchCat:{rule}", f"googlebot: all, *: {rule}"):
        assert opts_out(value), value
    assert opts_out(f"max-snippet: 3, {rule}")
    assert opts_out("all", rule), "the second header of the name counts, too"
    assert opts_out(rule, "all")
    assert opts_out(rule, name="x-robots-TAG")
    for value in (f"googlebot: {rule}", f"googlebot: nofollow, {rule}", f"{rule}s", f"x{rule}"):
        assert not opts_out(value), value


def test_a_plain_header_means_what_datadiligence_takes_it_for() -> None:
    rules = pytest.importorskip("datadiligence.rules")
    tag = rules.XRobotsTagHeader(user_agent="img2dataset", respect_noindex=True)
    tdm = rules.TDMRepHeader()
    for one, two in pairwise((*RULES, "img2dataset: noai", "googlebot: noai", *RULES)):
        value = f"{one}, {two}" if ":" not in one else one
        assert opts_out(value) == (not tag.is_allowed(headers={"X-Robots-Tag": value})), value
    for value in ("1", " 1 ", "0", "yes", ""):
        allowed = tdm.is_allowed(headers={"tdm-reservation": value})
        assert opts_out(value, name="TDM-Reservation") == (not allowed)


@pytest.mark.parametrize(
    ("name", "value"),
    [("X-Robots-Tag", "noai"), ("Content-Usage", "train-ai=n"), ("tdm-reservation", "1")],
)
def test_headers_of_pictures_and_redirects_count_and_those_of_no_other_answer(
    name: str, value: str
) -> None:
    counting = {n for n in range(100, 600) if opts_out(value, name=name, status=n)}
    assert counting == {200, 203, 301, 302, 303, 307, 308}


def test_every_hop_speaks_for_the_picture_at_its_end() -> None:
    quiet, loud = (), (("X-Robots-Tag", "noai"),)
    for place in range(3):
        hops = [
            Hop(f"http://a.example/{n}", 200 if n == 2 else 302, loud if n == place else quiet, "")
            for n in range(3)
        ]
        (signal,) = header_signals(hops, AGENTS)
        assert (signal.where, signal.decision) == (f"http://a.example/{place}", OPT_OUT)


# -- usage preferences ----------------------------------------------------------------------------

TRAINING = ("train-ai", "train-genai", "ai-training", "genai", "ai")


@pytest.mark.parametrize("name", TRAINING)
def test_every_published_name_of_training_and_every_way_to_say_no(name: str) -> None:
    for no in ("n", "?0", '"n"', "N", " n ", "n;exp=1"):
        assert decision(f"search=y, {name}={no}") == OPT_OUT, no
        assert decision(f"bots=y, tdm=y, {name}={no}") == OPT_OUT
    for yes in ("=y", "=?1", '="y"', ""):
        assert decision(f"bots=n, {name}{yes}") == "allow", yes
    assert decision(f"{name}=n, {name}=y") == "allow"
    assert decision(f"{name}=y, {name}=n") == OPT_OUT


def test_a_no_to_one_kind_of_training_is_not_outweighed_by_a_yes_to_another() -> None:
    for one, two in pairwise((*TRAINING, TRAINING[0])):
        assert decision(f"{one}=y, {two}=n") == decision(f"{two}=n, {one}=y") == OPT_OUT
    assert decision("bots=y, tdm=n") == OPT_OUT


# -- robots.txt and ai.txt ------------------------------------------------------------------------


def refused(text: str, path: str, *agents: str, name: SiteFile = "robots") -> bool:
    site = SiteRules({name: SiteFileText("http://a.example/file", text)}, agents or AGENTS)
    said = site.signals(f"http://a.example{path}", path)
    return any(signal.decision == OPT_OUT for signal in said)


RFC_5_1 = """
User-Agent: *
Disallow: *.gif$
Disallow: /example/
Allow: /publications/

User-Agent: foobot
Disallow:/
Allow:/example/page.html
Allow:/example/allowed.gif

User-Agent: barbot
User-Agent: bazbot
Disallow: /example/page.html

User-Agent: quxbot
"""
RFC_5_2 = "User-Agent: foobot\nAllow: /example/page/\nDisallow: /example/page/disallowed.gif\n"
RFC_2_2_1 = (
    "User-Agent: ExampleBot\nDisallow: /foo\nDisallow: /bar\n\n"
    "User-Agent: *\nDisallow: /all\n\nUser-Agent: examplebot\nDisallow: /baz\n"
)


@pytest.mark.parametrize(
    ("text", "agent", "path", "expected"),
    [
        (RFC_5_1, "otherbot", "/cat.gif", True),
        (RFC_5_1, "otherbot", "/cat.gif?", False),
        (RFC_5_1, "otherbot", "/example/x", True),
        (RFC_5_1, "otherbot", "/publications/", False),
        (RFC_5_1, "foobot", "/anything", True),
        (RFC_5_1, "foobot", "/example/page.html", False),
        (RFC_5_1, "foobot", "/example/allowed.gif", False),
        (RFC_5_1, "barbot", "/example/page.html", True),
        (RFC_5_1, "bazbot", "/example/page.html", True),
        (RFC_5_1, "bazbot", "/example/other.gif", False),
        (RFC_5_1, "quxbot", "/example/cat.gif", False),
        (RFC_5_2, "foobot", "/example/page/cat.gif", False),
        (RFC_5_2, "foobot", "/example/page/disallowed.gif", True),
        (RFC_2_2_1, "examplebot", "/foo", True),
        (RFC_2_2_1, "ExampleBot", "/baz", True),
        (RFC_2_2_1, "examplebot", "/all", False),
        ("User-agent: a\nDisallow: /foo/bar/\u30c4", "a", "/foo/bar/%E3%83%84", True),
        ("User-agent: a\nDisallow: /foo/bar/%E3%83%84", "a", "/foo/bar/%E3%83%84", True),
        ("User-agent: a\nDisallow: /foo/bar/%62%61%7A", "a", "/foo/bar/baz", True),
        ("User-agent: a\nDisallow: /path/foo-%24", "a", "/path/foo-$", True),
    ],
)
def test_the_examples_of_rfc_9309(text: str, agent: str, path: str, expected: bool) -> None:
    assert refused(text, path, agent) == expected


NAMES = ("*", "frenchcat", "FrenchCat", "img2dataset/1.0", "Img2Dataset", "french", "cat", "img")
NAMES += ("img2", "frenchcats", "my-frenchcat", "img2dataset-pro", "dataset", "googlebot")
OURS = {"frenchcat": "frenchcat", "FrenchCat": "frenchcat"}
OURS |= {"img2dataset/1.0": "img2dataset", "Img2Dataset": "img2dataset"}
groups = st.lists(
    st.tuples(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3), st.booleans()), max_size=4
)


@examples(max_examples=80)
@given(groups, st.booleans())
def test_a_group_is_for_whom_it_names_in_whole(
    said: list[tuple[list[str], bool]], spaced: bool
) -> None:
    def rules(agent: str) -> list[bool]:
        """RFC 9309 2.2.1: of all groups that name it, else of those for everybody."""
        own = [no for names, no in said if agent in [OURS.get(name) for name in names]]
        return own or [no for names, no in said if "*" in names]

    def text(rule: dict[bool, str]) -> str:
        colon = " :  " if spaced else ":"
        each = [
            "\n".join([*(f"User-agent{colon}{name} # {no}" for name in names), rule[no]])
            for names, no in said
        ]
        return "\n\n".join(each)

    robots = text({True: "Disallow: /pictures", False: "Disallow: /other"})
    expected = any(any(rules(agent)) for agent in AGENTS)
    assert refused(robots, "/pictures/cat.jpg") == expected
    assert refused(robots, "/pictures/cat.jpg", name="aitxt") == expected
    usage = text({True: "Content-Usage: train-ai=n", False: "Content-Usage: train-ai=y"})
    named = [no for names, no in said if any(name in OURS for name in names)]
    expected = any(named or rules("nobody"))
    assert refused(usage, "/pictures/cat.jpg") == expected


@pytest.mark.parametrize(
    "field", ["User-agent: img2dataset", "useragent: IMG2DATASET/2", "User-agent:img*"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_spellings_that_are_common_are_understood(field: str, end: str) -> None:
    text = end.join(["# mine", field, "Disallow: /", "", "User-agent: *", "Allow: /"])
    assert refused(text, "/cat.jpg")
    assert not refused(text.replace("img", "jmg").replace("IMG", "JMG"), "/cat.jpg")


def test_a_usage_preference_holds_for_its_path_and_ends_where_the_pattern_does() -> None:
    text = "User-agent: *\nContent-Usage: /a/*.jpg$ train-ai=n\nContent-Usage: /b train-ai=n\n"
    assert refused(text, "/a/x.jpg")
    assert not refused(text, "/a/x.jpg?small")
    assert not refused(text, "/c/x.jpg")
    assert refused(text, "/b/x.jpg")


@pytest.mark.parametrize("agents", [("otherbot",), ("mine", "OtherBot/3")])
def test_the_names_of_the_settings_are_ours_and_no_others(agents: tuple[str, ...]) -> None:
    def decided(name: str) -> set[str]:
        robots = SiteFileText("http://a.example/robots.txt", f"User-agent: {name}\nDisallow: /")
        usage = f"User-agent: {name}\nContent-Usage: train-ai=n"
        hop = Hop(HOP, 200, (("X-Robots-Tag", f"{name}: noai"),), "")
        said = header_signals([hop], agents)
        for files in (
            {"robots": robots},
            {"aitxt": robots},
            {"robots": replace(robots, text=usage)},
        ):
            said += SiteRules(files, agents).signals(HOP, "/x.jpg")  # type: ignore[arg-type]
        return {signal.signal for signal in said if signal.decision == OPT_OUT}

    assert decided("otherbot") == {"x_robots_tag", "robots_txt", "ai_txt", "robots_content_usage"}
    assert decided("*") == decided("otherbot")
    assert decided("frenchcat") == decided("img2dataset") == set()


# -- last, for what it imports ---------------------------------------------------------------------


@examples(max_examples=60)
@given(
    st.sampled_from([None, "img2dataset", "googlebot", "frenchcats"]),
    st.lists(st.sampled_from(RULES), min_size=1, max_size=4),
)
def test_a_header_for_one_agent_means_what_img2dataset_takes_it_for(
    agent: str | None, rules: list[str]
) -> None:
    value = f"{agent}: {', '.join(rules)}" if agent else ", ".join(rules)
    headers = Message()
    headers["X-Robots-Tag"] = value
    reference = img2dataset_module("downloader").is_disallowed
    assert opts_out(value) == reference(headers, "img2dataset", set(OPT_OUT_RULES))
