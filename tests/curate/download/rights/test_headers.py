"""Headers of a hop -> signals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frenchcat.curate.download.request import Hop
from frenchcat.curate.download.rights import usage
from frenchcat.curate.download.rights.headers import header_signals, reservation, rules_for
from frenchcat.curate.download.rights.signal import OPT_OUT, Signal, date_of, shortened

OURS = {"*", "img2dataset", "frenchcat"}
RULES = st.sampled_from(["noai", "noimageai", "noindex", "none", "nofollow", "noarchive", "all"])


def hop(*pairs: tuple[str, str], status: int = 200) -> Hop:
    return Hop("http://a.example/x.jpg", status, pairs, "")


@pytest.mark.parametrize(
    ("value", "rules"),
    [
        ("noai, googlebot: nofollow", {"noai"}),
        ("googlebot: nofollow, noai", set()),
        ("googlebot: nofollow, frenchcat: noai, nofollow", {"noai", "nofollow"}),
        ("max-snippet: 5, max-image-preview: none", set()),
        ("", set()),
        (":", set()),
        (",,;:;,", set()),
    ],
)
def test_rules_are_bound_to_agents(value: str, rules: set[str]) -> None:
    assert rules_for(value, OURS) - {":"} == rules


@given(st.lists(st.tuples(st.sampled_from(["", "*", "img2dataset", "googlebot"]), RULES)))
def test_rules_for_us_are_those_after_our_name_or_before_any(said: list[tuple[str, str]]) -> None:
    value = ", ".join(f"{agent}: {rule}" if agent else rule for agent, rule in said)
    expected, agent = set(), "*"
    for name, rule in said:
        agent = name or agent
        if agent in OURS:
            expected.add(rule)
    assert rules_for(value.upper(), OURS) == expected


@given(st.text(max_size=300))
def test_no_value_raises(text: str) -> None:
    names = ("X-Robots-Tag", "Content-Usage", "TDM-Reservation", "TDM-Policy", "Link", "Date")
    for signal in header_signals([hop(*((name, text) for name in names))], OURS):
        assert len(signal.value) <= 10_000
        signal.value.encode()


def test_headers_of_error_pages_say_nothing_and_those_of_redirects_do() -> None:
    noai = ("X-Robots-Tag", "noai")
    assert header_signals([hop(noai, status=503), hop(noai, status=404)], OURS) == []
    found = header_signals([hop(noai, ("Date", "Sun, 06 Nov 1994 08:49:37 GMT"), status=301)], [])
    assert found == [
        Signal("x_robots_tag", "noai", "http://a.example/x.jpg", "1994-11-06T08:49:37Z", OPT_OUT)
    ]


def test_a_license_link_is_a_fact() -> None:
    link = '<https://a.example/cc0>; rel="license", </x.css>; rel=preload'
    (found,) = header_signals([hop(("Link", link))], OURS)
    assert (found.signal, found.value, found.decision) == ("license", "https://a.example/cc0", None)


@pytest.mark.parametrize(
    ("value", "decision"),
    [
        *((said, "opt_out") for said in (1, "1", '"1"', 1.0, True)),
        *((said, "allow") for said in (0, "0", " 0 ")),
        *((said, None) for said in ("yes", None, [1], {})),
    ],
)
def test_reservations(value: object, decision: str | None) -> None:
    assert reservation(value) == decision


@pytest.mark.parametrize(
    ("value", "decision"),
    [
        ("train-ai=n", "opt_out"),
        ("TRAIN-AI=N;x=1", "opt_out"),
        ("train-ai=?0", "opt_out"),
        ("search=n", None),
        ("train-ai=y", "allow"),
        ("train-ai", "allow"),
        ("bots=n, train-ai=y", "allow"),
        ("bots=n", "opt_out"),
        ("train-ai=y, train-ai=n", "opt_out"),
        ("train-ai=maybe", None),
        ("train-ai" + " " * 500_000 + "!", None),
        ("", None),
    ],
)
def test_usage_preferences(value: str, decision: str | None) -> None:
    assert usage.decision(value) == decision


@pytest.mark.parametrize("value", ["", "yesterday", "Sun, 99 Nov 1994 08:49:37 GMT", "\0"])
def test_an_unreadable_date_is_none(value: str) -> None:
    assert date_of([("Date", value)]) is None


@given(st.text())
def test_values_are_kept_short_on_one_line_and_writable(text: str) -> None:
    kept = shortened(text)
    assert kept.split() == kept.split(" ") or not kept
    kept.encode()
