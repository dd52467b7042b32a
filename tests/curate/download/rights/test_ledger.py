"""All signals of a row -> one decision, and the file that holds them, over crawls and retries."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frenchcat.curate.config import changed
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download import (
    DownloadSettings,
    FetchSettings,
    ResizeSettings,
    download,
    retry_failed,
)
from frenchcat.curate.download.fetched import Fetched
from frenchcat.curate.download.ledger import signals_of
from frenchcat.curate.download.request import Hop
from frenchcat.curate.download.rights import OPT_OUTS, RightsSettings, Signal
from frenchcat.curate.download.rights.signal import ALLOW, OPT_OUT, date_of, opted_out, shortened
from frenchcat.curate.stage import Engine
from tests.curate.download.loopback import jpeg
from tests.curate.download.rights.variants import (
    PICTURE,
    Answer,
    Variant,
    headers,
    mining_xmp,
    serve,
    variant,
    with_xmp,
)

SITE = "http://a.example"
RESERVED = Signal(
    "tdmrep", "/* tdm-reservation: 1", f"{SITE}/.well-known/tdmrep.json", None, OPT_OUT
)


def fetched(
    hops: list[tuple[int, str | None]], *said: Signal, body: bytes | None = None
) -> Fetched:
    """A fetch with these (status, tdm-reservation) and signals of the site for each URL."""
    answers = tuple(
        Hop(f"{SITE}/{n}", code, () if value is None else (("tdm-reservation", value),), "")
        for n, (code, value) in enumerate(hops)
    )
    asked = tuple((hop.url, said) for hop in answers)
    return Fetched(f"{SITE}/0", body or jpeg(1), None, "", answers, "jpeg", 96, 64, 1, asked)


def decided(got: Fetched, listed: dict[str, Any] | None = None) -> str | None:
    said = opted_out(signals_of(got, RightsSettings(), listed))
    return None if said is None else said.signal


@given(st.lists(st.sampled_from([None, "0", "1", "maybe"]), min_size=1, max_size=3))
def test_tdmrep_is_outweighed_where_the_header_of_every_hop_spoke(said: list[str | None]) -> None:
    hops = [(302, value) for value in said[:-1]] + [(200, said[-1])]
    expected = "tdm_reservation" if "1" in said else None if set(said) == {"0"} else "tdmrep"
    assert decided(fetched(hops, RESERVED)) == expected


@pytest.mark.parametrize(
    "name", [name for name in OPT_OUTS if name not in ("tdmrep", "tdm_reservation")]
)
def test_a_reservation_of_zero_outweighs_no_other_signal(name: str) -> None:
    assert decided(fetched([(200, "0")], RESERVED, replace(RESERVED, signal=name))) == name


def test_a_failed_trys_header_does_not_speak_for_the_picture() -> None:
    hops = (
        Hop(f"{SITE}/0", 503, (("tdm-reservation", "0"),), ""),
        Hop(f"{SITE}/0", 200, (), ""),
    )
    assert decided(replace(fetched([(200, None)], RESERVED), hops=hops)) == "tdmrep"


@given(st.lists(st.sampled_from(OPT_OUTS), min_size=1), st.lists(st.sampled_from(OPT_OUTS)))
def test_the_reason_is_the_first_in_the_documented_order_and_no_allowance_outweighs_it(
    no: list[str], yes: list[str]
) -> None:
    signals = [Signal(name, "y", "x", None, ALLOW) for name in yes]
    signals += [Signal(name, "n", "x", None, OPT_OUT) for name in no]
    said = opted_out(signals)
    assert said is not None
    assert said.signal == min(no, key=OPT_OUTS.index)
    assert opted_out(signals[: len(yes)]) is None


def test_what_is_said_twice_stands_once() -> None:
    body = with_xmp(mining_xmp("DMI-PROHIBITED")) + mining_xmp("DMI-PROHIBITED")
    signals = signals_of(fetched([(302, "1"), (200, "1")], RESERVED, body=body), RightsSettings())
    assert [s.signal for s in signals] == [
        *("tdmrep", "tdm_reservation", "tdm_reservation", "xmp_data_mining")
    ]


@pytest.mark.parametrize(
    ("column", "signal"),
    [
        ("LICENSE", "license"),
        ("License_URL", "license"),
        ("Copyright", "copyright"),
        ("rights", "copyright"),
        ("Author", "creator"),
        ("Attribution", "credit"),
    ],
)
def test_columns_of_the_list_are_facts(column: str, signal: str) -> None:
    listed = {column: " CC BY ", "caption": "noai", "creator": None, "credit": ""}
    (found,) = signals_of(fetched([(200, None)]), RightsSettings(), listed)
    assert found == Signal(signal, "CC BY", f"list:{column}")


@pytest.mark.parametrize(
    ("said", "time"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37Z"),
        ("Sun, 06 Nov 1994 08:49:37 -0330", "1994-11-06T12:19:37Z"),
        ("Sun, 06 Nov 1994 08:49:37 -0000", "1994-11-06T08:49:37Z"),
    ],
)
def test_times_are_the_answers_own_in_utc(said: str, time: str) -> None:
    assert date_of([("X-Date", "Mon, 07 Nov 1994 08:49:37 GMT"), ("DATE", said)]) == time


def test_a_value_has_at_most_a_thousand_characters() -> None:
    assert shortened("é" * 1000) == "é" * 1000
    assert shortened("é" * 1001) == "é" * 1000


# -- the file -------------------------------------------------------------------------------------


def sites() -> list[Variant]:
    """Rows that are slow to be stored first, gone, opted out, too small, late, stored."""
    loud, late = headers("X-Robots-Tag: noai"), headers("tdm-policy: https://a.example/late")
    moved = {"/moved": (Answer(b"", 302, (("Location", PICTURE), *late)),)}
    link = headers("tdm-policy: https://a.example/p")
    return [
        variant("stored", None, "tdm-policy: https://a.example/0"),
        Variant("gone", None, {**moved, PICTURE: (Answer(b"", 404, loud),)}, "/moved"),
        variant("opted out", "x_robots_tag", "X-Robots-Tag: noai"),
        variant("too small", None, "tdm-policy: https://a.example/s", body=jpeg(1, 20, 20)),
        Variant("late", None, {PICTURE: (Answer(b"", 423, loud), Answer(jpeg(4), 200, late))}),
        variant("last", None, hop=link),
        variant("forbidden", "robots_txt", robots="User-agent: *\nDisallow: /"),
    ]


def test_the_ledger_has_the_rows_that_were_stored_or_opted_out_in_key_order_and_keeps_them(
    tmp_path: Path,
) -> None:
    variants = sites()
    with serve(variants) as urls:
        listed = tmp_path / "urls.csv"
        listed.write_text("url,license\n" + "".join(f"{url},CC0\n" for url in urls))
        settings = DownloadSettings(
            resize=ResizeSettings(min_image_size=30),
            fetch=FetchSettings(
                allow_hosts=tuple(url.split("/")[2] for url in urls), backoff_sec=0.01
            ),
        )
        dataset = Dataset.create(tmp_path / "dataset", "rights")

        def ledger() -> list[tuple[str, str, str]]:
            rows = pq.read_table(dataset.path("rights/00000.parquet")).to_pylist()
            found = [(row["key"], row["signal"], row["value"]) for row in rows]
            assert found[1::2] == [(key, "license", "CC0") for key, _, _ in found[::2]]
            return found[::2]

        with dataset.lock():
            download(dataset, str(listed), settings, Engine(workers=1))
        before = [
            ("000000000", "tdm_policy", "https://a.example/0"),
            ("000000002", "x_robots_tag", "noai"),
            ("000000005", "tdm_policy", "https://a.example/p"),
            ("000000006", "robots_txt", "Disallow for frenchcat"),
        ]
        assert ledger() == before
        # Other settings than those of the download do not count for rows that are asked again.
        rights = RightsSettings(policy="record", agents=("nobody",))
        with dataset.lock():
            retry_failed(dataset, changed(settings, rights=rights), Engine(workers=1))
        late = ("000000004", "tdm_policy", "https://a.example/late")
        assert ledger() == [*before[:2], late, *before[2:]]
        asked = {each.name: each.asked.count(PICTURE) for each in variants}
        assert (asked["late"], asked["opted out"], asked["forbidden"]) == (2, 1, 0)
