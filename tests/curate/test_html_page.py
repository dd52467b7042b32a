"""The head of the pages: they load nothing, run nothing, and tell linked sites nothing."""

import re

from frenchcat.curate.html_page import head, link


def policy(page: str) -> set[str]:
    (found,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    return set(found.split("; "))


def test_a_page_may_show_what_is_in_it_and_load_nothing() -> None:
    plain = {"default-src 'none'", "style-src 'unsafe-inline'"}
    assert policy(head("Cats", "")) == plain
    assert policy(head("Cats", "", images=True)) == {*plain, "img-src data:"}


def test_linked_sites_hear_nothing_of_the_page() -> None:
    assert '<meta name="referrer" content="no-referrer">' in head("Cats", "")


def test_it_is_a_whole_head() -> None:
    page = head("Cats", "p { color: red }")
    assert page.startswith('<!doctype html>\n<html lang="en"><head><meta charset="utf-8">')
    assert "<title>Cats</title><style>p { color: red }</style></head>" in page
    assert page.endswith("<body>")


def test_web_addresses_alone_are_links() -> None:
    assert link(" HTTPS://a.example/?b&c", "a") == (
        '<a href="HTTPS://a.example/?b&amp;c" rel="noreferrer nofollow">a</a>'
    )
    for address in (None, "", "javascript:alert(1)", "ftp://a.example", "a.example"):
        assert link(address, "a") == "a"
    assert link("http://" + "x" * 1_000_000, "a") == "a", "no address is so long"
