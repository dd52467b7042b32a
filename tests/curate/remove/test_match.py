"""Which rows a wish names, and which a later crawl leaves out: told by tables and brute force."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from frenchcat.curate.adopt import adopt
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.hash_lists import HashList, read_hash_lists
from frenchcat.curate.hashes import pdq
from frenchcat.curate.removals import Removed, removed, without_removed
from frenchcat.curate.remove import Match, RemovalQuery, matches, remove
from frenchcat.curate.urls import domain_of, host_of
from tests.curate.download.loopback import jpeg
from tests.curate.report.datasets import write
from tests.sample.columns import add_columns, set_columns
from tests.sample.embedded import embedded
from tests.sample.row import Row
from tests.sample.vectors import unit_rows

URLS = [
    "http://example.org/a",
    "https://www.example.org:8443/b",
    "HTTP://EXAMPLE.ORG./c",
    "http://img.cdn.example.org/d",
    "http://notexample.org/e",
    "http://example.org.evil.net/f",
    "http://other.net/example.org/g",
    "http://other.net/?site=example.org#example.org",
    "http://example.org@other.net/h",
    "http://user:word@example.org/i",
    "http://bbc.co.uk/j",
    "http://news.bbc.co.uk/k",
    "http://cc.co.uk/l",
    "http://192.0.2.7/m",
    "http://192.0.2.77/n",
    "http://alice.github.io/o",
    "http://bob.github.io/p",
    "example.org",
    "",
]
DOMAINS = {
    "example.org": {0, 1, 2, 3, 9},
    "  Example.ORG. ": {0, 1, 2, 3, 9},
    "www.example.org": {1},
    "img.cdn.example.org": {3},
    "cdn.example.org": set(),  # neither a host of the list nor what anybody registered
    "notexample.org": {4},
    "ample.org": set(),
    "evil.net": {5},
    "other.net": {6, 7, 8},
    "bbc.co.uk": {10, 11},
    "co.uk": set(),
    "org": set(),
    "192.0.2.7": {13},
    "2.7": set(),
    "github.io": set(),
    "alice.github.io": {15},
}


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset with these URLs."""
    root = tmp_path_factory.mktemp("addresses") / "d"
    return write(root, [Row(url=url) for url in URLS], pictures=False)


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_domain_names_its_hosts_and_no_other_party(addresses: Dataset, domain: str) -> None:
    found = {int(match.key) for match in matches(addresses, RemovalQuery("domain", domain))}
    assert found == DOMAINS[domain]


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_crawl_leaves_out_what_a_domain_names(tmp_path: Path, domain: str) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    remove(dataset, RemovalQuery("domain", domain), [])
    rows = pa.table({"uid": [str(n) for n in range(len(URLS))], "url": URLS})
    left = without_removed(rows, removed(dataset))
    assert set(map(int, left["uid"].to_pylist())) == set(range(len(URLS))) - DOMAINS[domain]


SAME_DOMAIN = {
    "xn--bcher-kva.de": (
        "http://bücher.de/1.png",
        "https://BÜCHER.de./2.png",
        "http://xn--bcher-kva.de/3.png",
        "http://b%C3%BCcher.de/4.png",
        "http://www.bu\u0308cher.de/5.png",
        " http://bücher.de/6.png",
        "http://XN--BCHER-KVA.DE:80/7.png",
    ),
    "127.0.0.1": ("http://127.1/1.png", "http://0x7f.1/2.png", "http://2130706433/3.png"),
    "example.org": ("\thttp://EXAMPLE.org/1.png", "http://%65xample.org/2.png"),
}


@pytest.mark.parametrize("domain", SAME_DOMAIN)
def test_a_domain_is_one_however_it_is_spelt(domain: str) -> None:
    for url in SAME_DOMAIN[domain]:
        assert domain_of(url) == domain
    hosts = {domain} if domain[0].isdigit() else {domain, f"www.{domain}"}
    assert {host_of(url) for url in SAME_DOMAIN[domain]} <= hosts


@pytest.mark.parametrize("asked", ["bücher.de", "BÜCHER.DE.", "xn--bcher-kva.de", "b%C3%BCcher.de"])
def test_a_domain_removed_in_any_spelling_is_not_crawled_in_another(
    tmp_path: Path, asked: str
) -> None:
    dataset = embedded(tmp_path / "d", unit_rows(1))
    remove(dataset, RemovalQuery("domain", asked), [])
    urls = [*SAME_DOMAIN["xn--bcher-kva.de"], "http://bucher.de/8.png", "http://xbücher.de/9.png"]
    rows = pa.table({"uid": [str(n) for n in range(len(urls))], "url": urls})
    left = without_removed(rows, removed(dataset))["url"].to_pylist()
    assert left == urls[-2:]


@pytest.mark.parametrize("asked", ["example.org:8080", "me@example.org", "*.example.org"])
def test_what_would_block_nothing_is_not_logged(tmp_path: Path, asked: str) -> None:
    dataset = Dataset.create(tmp_path / "d", "d")
    with pytest.raises(UserError, match="is not a domain"):
        remove(dataset, RemovalQuery("domain", asked), [])
    assert not removed(dataset)


SPELLINGS = [
    "http://example.org/a",
    "http://example.org:80/a",
    " HTTP://Example.org/a ",
    "http://example.org/./x/../a",
    "http://example.org/a#here",
]
OTHERS = [
    "https://example.org/a",
    "http://example.org:8080/a",
    "http://example.org/A",
    "http://example.org/a?size=2",
    "http://www.example.org/a",
]


@pytest.mark.parametrize("asked", SPELLINGS)
def test_a_url_is_the_same_however_it_is_spelt(tmp_path: Path, asked: str) -> None:
    listed = [*SPELLINGS, *OTHERS]
    dataset = write(tmp_path / "d", [Row(url=url) for url in listed], pictures=False)
    found = matches(dataset, RemovalQuery("url", asked))
    assert [match.url for match in found] == SPELLINGS
    remove(dataset, RemovalQuery("url", asked), [])  # blocked by the wish alone
    rows = pa.table({"uid": listed, "url": listed})
    assert without_removed(rows, removed(dataset))["url"].to_pylist() == OTHERS


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_digest_is_that_of_the_fetched_or_of_the_stored_bytes(tmp_path: Path) -> None:
    rows = [
        Row(scores={"sha256": digest("a"), "stored_sha256": digest("b")}),
        Row(scores={"sha256": digest("c"), "stored_sha256": digest("a")}),
        Row(scores={"sha256": digest("c"), "stored_sha256": digest("d")}),
    ]
    dataset = write(tmp_path / "d", rows, pictures=False)
    for text, keys in (("a", {0, 1}), ("b", {0}), ("c", {1, 2}), ("e", set())):
        for value in (digest(text), f" {digest(text).upper()} "):
            found = matches(dataset, RemovalQuery("sha256", value))
            assert {int(match.key) for match in found} == keys
    for bad in (digest("a")[:63], digest("a") + "0", "g" * 64):
        with pytest.raises(UserError, match="is not an SHA-256"):
            matches(dataset, RemovalQuery("sha256", bad))


@pytest.mark.parametrize("value", ["00000000", "0000000000", "00000000_", "%", "100000000"])
def test_a_key_is_a_whole_key(addresses: Dataset, value: str) -> None:
    assert matches(addresses, RemovalQuery("key", value)) == []


BASE = np.random.default_rng(5).integers(0, 256, 32, np.uint8)


def flipped(bits: int, start: int = 0) -> str:
    """The hash with so many bits of it turned over, hex."""
    unpacked = np.unpackbits(BASE)
    unpacked[start : start + bits] ^= 1
    return np.packbits(unpacked).tobytes().hex()


def why(found: list[Match]) -> dict[int, str]:
    return {int(match.key): match.why for match in found}


def test_near_copies_by_hash_are_at_most_31_bits_away_and_only_where_asked(tmp_path: Path) -> None:
    bits = [0, 31, 32, 1, 200]
    hashes: list[str | None] = [flipped(number) for number in bits]
    rows = [Row(f"http://a.org/{n}", scores={"pdq": h}) for n, h in enumerate([*hashes, None])]
    dataset = write(tmp_path / "d", rows, pictures=False)
    query = RemovalQuery("key", "000000000")
    assert why(matches(dataset, query)) == {0: "key"}
    near = matches(dataset, RemovalQuery("key", "000000000", near=True))
    assert why(near) == {0: "key", 1: "perceptual 31 bits", 3: "perceptual 1 bits"}
    assert [int(match.key) for match in near] == [0, 1, 3]
    assert why(matches(dataset, RemovalQuery("key", "000000005", near=True))) == {5: "key"}


def test_the_distance_is_that_to_the_nearest_row_asked_for(tmp_path: Path) -> None:
    hashes = [flipped(0), flipped(60), flipped(50), flipped(12)]
    urls = ["http://a.org/x", "http://a.org/x", "http://b.org/y", "http://b.org/z"]
    rows = [Row(url, scores={"pdq": h}) for url, h in zip(urls, hashes, strict=True)]
    dataset = write(tmp_path / "d", rows, pictures=False)
    found = why(matches(dataset, RemovalQuery("url", "http://a.org/x", near=True)))
    near = {2: "perceptual 10 bits", 3: "perceptual 12 bits"}
    assert found == {0: "url", 1: "url", **near}


def at_cosines(*cosines: float) -> Any:
    """A unit vector, then one a cosine with it."""
    rows = np.zeros((1 + len(cosines), 16), np.float32)
    rows[0, 0] = 1
    for at, cosine in enumerate(cosines, 1):
        rows[at, 0], rows[at, at] = cosine, np.sqrt(1 - cosine**2)
    return rows


def test_near_copies_by_vector_have_a_cosine_of_96_hundredths(tmp_path: Path) -> None:
    elsewhere = at_cosines(0.5, 0.98)[1:]
    dataset = embedded(tmp_path / "d", at_cosines(0.99, 0.962, 0.957, -1.0), elsewhere)
    assert why(matches(dataset, RemovalQuery("key", "000000000"))) == {0: "key"}
    near = why(matches(dataset, RemovalQuery("key", "000000000", near=True)))
    wanted = {1: "semantic 0.990", 2: "semantic 0.962", 10001: "semantic 0.980"}
    assert near == {0: "key", **wanted}
    far = why(matches(dataset, RemovalQuery("key", "000010000", near=True)))
    assert far == {10000: "key"}


def test_a_picture_names_its_bytes_its_hash_and_its_vector(tmp_path: Path) -> None:
    dataset = embedded(tmp_path / "d", at_cosines(0.97, 0.5, 0.5, 0.5))
    file = tmp_path / "copy.jpg"
    file.write_bytes(jpeg(1))
    hashes = [None, None, pdq(opened(jpeg(1), 80)).hex(), None, pdq(opened(jpeg(2))).hex()]
    sums = [None, None, None, hashlib.sha256(jpeg(1)).hexdigest(), None]
    add_columns(dataset, "scores", sha256=sums, pdq=hashes)
    query = RemovalQuery("like", str(file))
    found = why(matches(dataset, query, lambda _: at_cosines()[0]))
    assert found.keys() == {0, 1, 2, 3}
    assert next(iter(found)) == 3  # equal bytes come first
    assert (found[3], found[0], found[1]) == ("like", "semantic 1.000", "semantic 0.970")
    assert found[2].startswith("perceptual")
    assert why(matches(dataset, query)).keys() == {2, 3}
    (tmp_path / "no.jpg").write_text("no picture")
    with pytest.raises(UserError, match=r"no\.jpg cannot be decoded"):
        matches(dataset, RemovalQuery("like", str(tmp_path / "no.jpg")))


def opened(data: bytes, width: int | None = None) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    return picture.resize((width, width * 2 // 3)) if width else picture


def test_what_was_removed_is_not_matched_again(addresses: Dataset, tmp_path: Path) -> None:
    dataset = write(tmp_path / "d", [Row(url=url) for url in URLS], pictures=False)
    for expected in ({0, 1, 2, 3, 9}, set()):
        found = matches(dataset, RemovalQuery("domain", "example.org"))
        assert {int(match.key) for match in found} == expected
        remove(dataset, RemovalQuery("domain", "example.org"), found)


def test_near_copies_are_found_whatever_the_digits_of_a_row(tmp_path: Path) -> None:
    """img2dataset writes three for the row where a shard holds a thousand."""
    source = embedded(tmp_path / "made", at_cosines(0.99, 0.1))
    for name in ("shards/00000.parquet", "embeddings/metadata/metadata_00000.parquet"):
        names = {"key", "image_path"} & {*pq.read_schema(source.path(name)).names}
        short = [f"00000{row:03d}" for row in range(3)]
        set_columns(source, name, **dict.fromkeys(names, short))
    query = RemovalQuery("key", "00000000", near=True)
    found = matches(source, query)
    assert why(found) == {0: "key", 1: "semantic 0.990"}
    assert len(remove(source, query, found).vectors) == 2


# -- hash lists ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "listed"), [(0, True), (31, True), (32, False), (128, False)])
@pytest.mark.parametrize("stored", [True, False])
def test_a_picture_is_held_back_within_31_bits_of_a_listed_hash(
    bits: int, listed: bool, stored: bool
) -> None:
    found = np.unpackbits(np.frombuffer(pdq(opened(jpeg(3), 512)), np.uint8))
    found[:bits] ^= 1
    lists = HashList(pdq=frozenset([np.packbits(found).tobytes().hex(), "0f" * 32]))
    out = io.BytesIO()
    opened(jpeg(3), 512).save(out, "PNG")
    pair = (b"", out.getvalue()) if stored else (out.getvalue(), b"")
    assert lists.holds(*pair) == ("pdq" if listed else None)


def test_a_flat_picture_is_near_nothing() -> None:
    """Its hash is noise: PDQ's own quality says so."""
    out = io.BytesIO()
    Image.new("RGB", (64, 64), (9, 9, 9)).save(out, "PNG")
    own = pdq(Image.open(out)).hex()
    assert HashList(pdq=frozenset([own])).holds(b"", out.getvalue()) is None


def test_hash_lists_are_read_line_by_line(tmp_path: Path) -> None:
    sums = [hashlib.md5(b"a").hexdigest(), digest("a"), digest("b"), digest("c"), digest("d")]
    text = f"{sums[0]} # known\n\n{sums[1].upper()},a comment\n#{sums[2]}\n  {sums[3]}  \n"
    (tmp_path / "one.txt").write_text(text)
    (tmp_path / "two.pdq").write_text(sums[4])
    found = read_hash_lists((str(tmp_path / "one.txt"), str(tmp_path / "two.pdq")))
    assert found.md5 == {sums[0]}
    assert found.sha256 == {sums[1], sums[3]}
    assert found.pdq == {sums[4]}
    for bad in ("g" * 64, sums[0][:31], sums[1] + "00"):
        (tmp_path / "bad.txt").write_text(f"{sums[1]}\n{bad}\n")
        with pytest.raises(UserError, match=r"bad\.txt:2: .* is not an md5, SHA-256 or PDQ"):
            read_hash_lists((str(tmp_path / "bad.txt"),))


NAMES = st.sampled_from("abcdef")


@settings(max_examples=30)
@given(
    rows=st.lists(st.tuples(NAMES, NAMES), max_size=8),
    urls=st.frozensets(NAMES, max_size=2),
    uids=st.frozensets(NAMES, max_size=2),
)
def test_a_crawl_keeps_the_other_rows_in_their_order(
    rows: list[tuple[str, str]], urls: frozenset[str], uids: frozenset[str]
) -> None:
    def sums(values: frozenset[str]) -> frozenset[str]:
        return frozenset(map(digest, values))

    address = "http://example.org/{}".format
    gone = Removed(
        url_hashes=sums(frozenset(map(address, urls))),
        uid_hashes=sums(uids),
        requests=(None,),  # type: ignore[arg-type]
    )
    table = pa.table(
        {
            "uid": pa.array([uid for uid, _ in rows], pa.string()),
            "url": pa.array([address(name) for _, name in rows], pa.string()),
        }
    )
    wanted = [
        {"uid": uid, "url": address(name)}
        for uid, name in rows
        if uid not in uids and name not in urls
    ]
    assert without_removed(table, gone).to_pylist() == wanted


def test_a_dataset_adopted_without_pictures_is_compacted(tmp_path: Path) -> None:
    from frenchcat.curate.remove import compact, residue

    folder = tmp_path / "theirs"
    (folder / "img_emb").mkdir(parents=True)
    (folder / "metadata").mkdir()
    np.save(folder / "img_emb/0.npy", unit_rows(5).astype(np.float16))
    table = {"caption": list("abcde"), "url": [f"http://a.org/{n}" for n in range(5)]}
    pq.write_table(pa.table(table), folder / "metadata/0.parquet")
    dataset = adopt(folder, tmp_path / "d").dataset
    query = RemovalQuery("url", "http://a.org/2")
    remove(dataset, query, matches(dataset, query))
    assert residue(dataset)
    assert compact(dataset) == {"rows": 1, "shards": 1}
    assert residue(dataset) == []
    left = pq.read_table(dataset.path("embeddings/metadata/metadata_00000.parquet"))
    assert left["caption"].to_pylist() == list("abde")
