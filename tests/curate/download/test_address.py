import asyncio
import ipaddress
import socket
from ipaddress import IPv4Address, IPv6Address

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from frenchcat.curate.download.address import (
    AddressPolicy,
    AddressRefused,
    CheckedResolver,
    SystemResolver,
    refusal,
)
from frenchcat.curate.urls import parse_url

SPECIAL_V6 = [
    *("::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/32"),
    *("2001:db8::/32", "2002::/16", "3fff::/20", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
    *("2001::/23", "2000::/3", "5f00::/16"),
]
addresses_v6 = st.one_of(
    st.ip_addresses(v=6), *(st.ip_addresses(network=network) for network in SPECIAL_V6)
)


def mapped(address: IPv4Address) -> list[IPv6Address]:
    """The IPv6 forms that stand for an IPv4 address and may be dialled."""
    return [IPv6Address(f"::ffff:{address}"), IPv6Address(f"64:ff9b::{address}")]


# hypothesis draws half of its IPv4 addresses from the special-purpose registry.
@given(st.ip_addresses(v=4))
def test_ipv4_passes_only_where_ipaddress_calls_it_global(address: IPv4Address) -> None:
    passes = refusal(address) is None
    special = address.is_multicast or not address.is_global
    if passes:
        assert not special
    elif not special:
        extra = ("192.88.99.0/24", "192.0.0.0/24", "168.63.129.16/32")
        assert any(address in ipaddress.ip_network(network) for network in extra)
    for form in mapped(address):
        assert (refusal(form) is None) == passes


@given(addresses_v6)
def test_ipv6_passes_only_where_ipaddress_calls_it_global(address: IPv6Address) -> None:
    if address.ipv4_mapped or address in ipaddress.ip_network("64:ff9b::/96"):
        assert refusal(address) == refusal(IPv4Address(int(address) & 0xFFFFFFFF))
        return
    passes = refusal(address) is None
    if passes:
        assert address.is_global
        assert not any((address.is_multicast, address.is_reserved, address.is_site_local))
        assert address.sixtofour is None
        assert address.teredo is None
    elif address.is_global:  # what is stricter here than in ipaddress
        stricter = ("2002::/16", "2001::/23", "64:ff9b:1::/48", "3fff::/20", "ff00::/8")
        named = any(address in ipaddress.ip_network(network) for network in stricter)
        isatap = (int(address) >> 32) & 0xFDFFFFFF == 0x5EFE
        assert named or isatap or address not in ipaddress.ip_network("2000::/3")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "this network"),
        ("10.1.2.3", "private"),
        ("100.100.100.200", "carrier-grade NAT"),
        ("127.255.255.254", "loopback"),
        ("168.63.129.16", "cloud metadata"),
        ("169.254.169.254", "link-local"),
        ("172.31.255.255", "private"),
        ("192.168.0.1", "private"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "reserved"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::127.0.0.1", "reserved"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:169.254.169.254", "link-local"),
        ("64:ff9b::10.0.0.1", "private"),
        ("64:ff9b:1::1", "local NAT64"),
        ("2002:7f00:1::", "6to4"),
        ("2002:808:808::1", "6to4"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo"),
        ("fd00:ec2::254", "private"),
        ("fe80::1", "link-local"),
        ("ff02::1", "multicast"),
        ("2606:4700::5efe:10.0.0.1", "private"),
        ("4000::1", "reserved"),
        ("8.8.8.8", None),
        ("2606:4700::1111", None),
        ("::ffff:8.8.8.8", None),
        ("64:ff9b::8.8.8.8", None),
    ],
)
def test_ranges_have_names(text: str, name: str | None) -> None:
    assert refusal(ipaddress.ip_address(text)) == name


class Answers(AbstractResolver):
    """A resolver with the answers of a test, one list a question."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []
        self.families: list[socket.AddressFamily] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked.append((host, port))
        self.families.append(family)
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


def resolve(policy: AddressPolicy, host: str, port: int, addresses: list[str]) -> list[str]:
    resolver = CheckedResolver(Answers(addresses), policy)
    return [result["host"] for result in asyncio.run(resolver.resolve(host, port))]


def test_addresses_of_the_family_that_is_asked_for_are_resolved() -> None:
    inner = Answers(["2606:4700::1"])
    checked = CheckedResolver(inner, AddressPolicy())
    asyncio.run(checked.resolve("a.example", 80, socket.AF_INET6))
    assert inner.families == [socket.AF_INET6]


def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    assert resolve(AddressPolicy(), "a.example", 80, ["8.8.8.8", "2606:4700::1"])
    with pytest.raises(AddressRefused, match=r"10\.0\.0\.1 of a\.example is private"):
        resolve(AddressPolicy(), "a.example", 80, ["8.8.8.8", "10.0.0.1"])


def test_an_opened_host_is_opened_at_its_port_only_and_never_to_link_local() -> None:
    policy = AddressPolicy([("a.example", 8000)])
    assert resolve(policy, "a.example", 8000, ["127.0.0.1", "::1", "10.0.0.1"])
    for host, port, address in (
        ("a.example", 8001, "127.0.0.1"),
        ("b.example", 8000, "127.0.0.1"),
        ("a.example", 8000, "169.254.169.254"),
        ("a.example", 8000, "0.0.0.0"),
    ):
        with pytest.raises(AddressRefused):
            resolve(policy, host, port, [address])


def test_literals_are_checked_without_a_resolver() -> None:
    policy = AddressPolicy([("127.0.0.1", 8000)])
    policy.check_literal(parse_url("http://127.0.0.1:8000/"))
    policy.check_literal(parse_url("http://8.8.8.8/"))
    policy.check_literal(parse_url("http://a.example/"))
    for url in ("http://127.0.0.1/", "http://0x7f.1:8001/", "http://[::ffff:127.0.0.1]:8000/"):
        with pytest.raises(AddressRefused):
            policy.check_literal(parse_url(url))


def test_no_socket_is_made_for_an_address_that_was_not_let_through() -> None:
    policy = AddressPolicy([("a.example", 8000)])

    def make(address: str, port: int) -> None:
        policy.make_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, port))).close()

    make("8.8.8.8", 80)
    with pytest.raises(AddressRefused):
        make("127.0.0.1", 8000)
    resolve(policy, "a.example", 8000, ["127.0.0.1"])
    make("127.0.0.1", 8000)
    with pytest.raises(AddressRefused):
        make("127.0.0.1", 8001)


def test_the_system_resolver_knows_localhost_and_says_so_when_there_is_no_name() -> None:
    async def run() -> list[str]:
        resolver = SystemResolver()
        try:
            with pytest.raises(socket.gaierror):
                await resolver.resolve("name.invalid", 80)
            return [result["host"] for result in await resolver.resolve("localhost", 80)]
        finally:
            await resolver.close()

    assert "127.0.0.1" in asyncio.run(run())
