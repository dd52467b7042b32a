import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frenchcat.curate.reasons import FetchFailure
from frenchcat.curate.urls import (
    canonical_host,
    domain_of,
    host_of,
    named_host,
    parse_url,
    plain_origin,
    resolve_redirect,
)


def refused(text: object) -> str:
    with pytest.raises(FetchFailure) as caught:
        parse_url(text)
    return caught.value.reason


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("http://Example.COM", "http://example.com/"),
        ("HTTPS://example.com:443/a%20b?x=%2F#part", "https://example.com/a%20b?x=%2F"),
        ("http://example.com:8080", "http://example.com:8080/"),
        ("  http://example.com/a b\t.jpg\n", "http://example.com/a%20b.jpg"),
        ("http://example.com./a", "http://example.com/a"),
        ("http://example.com?q=ü", "http://example.com/?q=%C3%BC"),
        ("http://bücher.example/ß", "http://xn--bcher-kva.example/%C3%9F"),
        ("http://☕.example/", "http://xn--53h.example/"),
        ("http://a_b.example/", "http://a_b.example/"),
        ("http://example.com/x/../y/./z?..", "http://example.com/y/z?.."),
        ('http://example.com/a\\b"<>{}', "http://example.com/a/b%22%3C%3E%7B%7D"),
        ("http://[2606:4700:0:0::1]:80/", "http://[2606:4700::1]/"),
        ("http://exam%70le.com/", "http://example.com/"),
    ],
)
def test_a_url_has_one_spelling(text: str, canonical: str) -> None:
    assert str(parse_url(text)) == canonical
    assert str(parse_url(canonical)) == canonical


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "bad_url"),
        (float("nan"), "bad_url"),
        ("", "bad_url"),
        ("cat.jpg", "bad_url"),
        ("//example.com/cat.jpg", "bad_url"),
        ("http:example.com", "bad_url"),
        ("http://", "bad_url"),
        ("http:///cat.jpg", "bad_url"),
        ("http://.", "bad_url"),
        ("http://a..b/", "bad_url"),
        ("http://exa mple.com/", "bad_url"),
        ("http://example.com:0/", "bad_url"),
        ("http://example.com:65536/", "bad_url"),
        ("http://example.com:8o/", "bad_url"),
        ("http://example.com:1:2/", "bad_url"),
        ("http://1.2.3.4.5/", "bad_url"),
        ("http://256.1.1.1/", "bad_url"),
        ("http://127.0.0.08/", "bad_url"),
        ("http://example.0x/", "bad_url"),
        ("http://[::1", "bad_url"),
        ("http://[fe80::1%25eth0]/", "bad_url"),
        ("http://[127.0.0.1]/", "bad_url"),
        ("http://\ud800.example/", "bad_url"),
        ("http://example.com/\ud800", "bad_url"),
        ("http://%ff.example/", "bad_url"),
        ("http://example.com\\@127.0.0.1/", "credentials_refused"),
        ("http://" + "a" * 64 + ".example/", "bad_url"),
        ("http://" + "ü" * 5000 + ".example/", "bad_url"),
        ("http://example.com/" + "a" * 9000, "bad_url"),
        ("http://me:secret@example.com/", "credentials_refused"),
        ("http://example.com@127.0.0.1/", "credentials_refused"),
        ("file:///etc/passwd", "scheme_refused"),
        ("data:image/png;base64," + "A" * 100_000, "scheme_refused"),
        ("ftp://example.com/cat.jpg", "scheme_refused"),
        ("javascript:alert(1)", "scheme_refused"),
        ("gopher://example.com", "scheme_refused"),
    ],
)
def test_what_is_no_web_url_is_refused_by_name(text: object, reason: str) -> None:
    assert refused(text) == reason


@pytest.mark.parametrize(
    "host",
    [
        *("127.1", "127.0.1", "2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "017700000001"),
        *("127.0.0.1.", "0X7F.0.0.1", "127.0.0.0x1"),
        *("127。0。0。1", "①②⑦.⓪.⓪.①", "%31%32%37.0.0.1"),
    ],
)
def test_every_spelling_of_loopback_is_loopback(host: str) -> None:
    assert canonical_host(host) == "127.0.0.1"


@given(st.lists(st.integers(0, 2**33), min_size=1, max_size=5), st.data())
def test_numeric_hosts_mean_what_the_c_library_takes_them_for(
    numbers: list[int], data: st.DataObject
) -> None:
    text = ".".join(data.draw(st.sampled_from([f"{n}", f"0{n:o}", f"{n:#x}"])) for n in numbers)
    try:
        expected = str(ipaddress.IPv4Address(socket.inet_aton(text)))
    except OSError:
        with pytest.raises(FetchFailure):
            canonical_host(text)
    else:
        assert canonical_host(text) == expected


@given(st.text(max_size=60))
def test_any_text_gives_a_url_or_a_refusal(text: str) -> None:
    for candidate in (text, "http://" + text, "http://example.com/" + text):
        try:
            url = parse_url(candidate)
        except FetchFailure:
            continue
        assert str(url).isascii()
        assert not set(str(url)) & set(" \r\n\t\0")
        assert parse_url(str(url)) == url
        assert host_of(candidate) == host_of(str(url)) == url.host


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/b.jpg", "http://example.com:81/b.jpg"),
        ("b.jpg?x", "http://example.com:81/dir/b.jpg?x"),
        ("//other.example/b", "http://other.example/b"),
        ("https://other.example", "https://other.example/"),
        (b"/caf\xe9".decode("utf-8", "surrogateescape"), "http://example.com:81/caf%E9"),
        ("/café", "http://example.com:81/caf%C3%A9"),
    ],
)
def test_redirects_are_relative_to_their_sender(location: str, target: str) -> None:
    assert str(resolve_redirect(parse_url("http://example.com:81/dir/a.jpg"), location)) == target


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("file:///etc/passwd", "scheme_refused"),
        ("http://[", "bad_redirect"),
        ("http://:80/", "bad_redirect"),
        ("http://a:b@c/", "credentials_refused"),
    ],
)
def test_redirects_to_what_is_no_web_url_are_refused(location: str, reason: str) -> None:
    with pytest.raises(FetchFailure) as caught:
        resolve_redirect(parse_url("http://example.com/"), location)
    assert caught.value.reason == reason


def test_a_url_has_at_most_8192_characters() -> None:
    longest = "http://example.com/".ljust(8192, "a")
    assert str(parse_url(longest)) == longest
    assert refused(f"{longest}a") == "bad_url"


# https://fetch.spec.whatwg.org/#bad-port
# fmt: off
BAD_PORTS = {
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102,
    103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465,
    512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993,
    995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668,
    6669, 6679, 6697, 10080,
}
# fmt: on


def test_ports_that_browsers_refuse_are_those_of_the_fetch_standard() -> None:
    tried = [*range(1, 10_100), *range(10_100, 65_536, 97)]
    found = {n for n in tried if parse_url(f"http://example.com:{n}/").has_bad_port}
    assert found == BAD_PORTS


@pytest.mark.parametrize(
    ("url", "host", "domain"),
    [
        ("http://a.b.bbc.co.uk:80/x", "a.b.bbc.co.uk", "bbc.co.uk"),
        ("https://u:p@Example.org./", "example.org", "example.org"),
        ("http://co.uk/", "co.uk", "co.uk"),
        ("http://10.20.30.40/x", "10.20.30.40", "10.20.30.40"),
        ("http://[2001:DB8::1]:8/", "2001:db8::1", "2001:db8::1"),
        ("http://localhost/x", "localhost", "localhost"),
        ("http://[broken/", "", ""),
        ("no url", "", ""),
        ("", "", ""),
        (None, "", ""),
    ],
)
def test_hosts_and_domains_of_addresses(url: str | None, host: str, domain: str) -> None:
    assert (host_of(url), domain_of(url)) == (host, domain)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (" BÜCHER.de. ", "xn--bcher-kva.de"),
        ("b%C3%BCcher.de", "xn--bcher-kva.de"),
        ("a_b.example", "a_b.example"),
        ("0x7f.1", "127.0.0.1"),
        ("[2606:4700:0::1]", "2606:4700::1"),
        ("::1", "::1"),
    ],
)
def test_a_host_that_somebody_names_has_one_spelling(text: str, plain: str) -> None:
    assert named_host(text) == plain


@pytest.mark.parametrize(
    "text",
    ["example.org:8080", "me@example.org", "https://example.org", "example.org/a", "*.example.org",
     ".example.org", "two words.org", "", "."],
)  # fmt: skip
def test_a_text_that_is_more_than_a_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a domain; write it like example\.org"):
        named_host(text)


def test_a_site_is_spelt_as_browsers_spell_it() -> None:
    assert plain_origin(" HTTPS://Bücher.de:443/") == "https://xn--bcher-kva.de"
    assert plain_origin("http://[::1]:8080") == "http://[::1]:8080"
    for text in ("https://a.example/page", "a.example", "null"):
        with pytest.raises(ValueError, match="is not a site"):
            plain_origin(text)
