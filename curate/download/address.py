"""Which addresses may be connected to, and a resolver that returns no others.

Reads IP addresses, writes nothing. Anybody can put a name that points at our own network into a URL
list, so only public unicast addresses pass; the refused ranges are those of IANA's IPv4 and IPv6
Special-Purpose Address Registries. One function makes the check in three places: on IP literals in
URLs (they never reach a resolver), on the resolver's answers (the same list is connected to, so
there is no second look-up to rebind), and on each socket before it is created.

Trade-off: one refused address among several refuses the name, and 6to4, Teredo and all of 2001::/23
are refused outright. A NAT64 prefix that a network chose for itself (RFC 6052) looks like any
public address and is not recognised.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from aiohttp.abc import AbstractResolver, ResolveResult

from frenchcat.curate.urls import WebURL

_REFUSED_V4 = [
    (IPv4Network(network), name)
    for network, name in (
        ("0.0.0.0/32", "unspecified"),
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "cloud metadata"),  # Azure's, inside a public range
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignments"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
]
_REFUSED_V6 = [
    (IPv6Network(network), name)
    for network, name in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("64:ff9b:1::/48", "local NAT64"),
        ("100::/64", "discard"),
        ("2001::/32", "Teredo"),
        ("2001::/23", "protocol assignments"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("3fff::/20", "documentation"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
]
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214 section 6.1: upper half of the interface identifier
_OPENABLE = frozenset({"loopback", "private", "carrier-grade NAT"})


class AddressRefused(OSError):
    """An address that is not public. An OSError, because resolvers and sockets may raise that."""


def refusal(address: IPv4Address | IPv6Address) -> str | None:
    """The name of the special range that contains the address; None if it is public unicast."""
    if isinstance(address, IPv4Address):
        return next((name for network, name in _REFUSED_V4 if address in network), None)
    inner = _embedded_v4(address)
    if inner is not None:
        return refusal(inner)
    for network, name in _REFUSED_V6:
        if address in network:
            return name
    if address not in _GLOBAL_UNICAST:
        return "reserved"
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        return refusal(IPv4Address(int(address) & 0xFFFFFFFF))
    return None


def _embedded_v4(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that a v4-mapped (::ffff:0:0/96) or NAT64 (64:ff9b::/96) address
    represents.
    """
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped


class AddressPolicy:
    """Decides about (host, port, address). `opened` are the (host, port) that a user has named.

    An opened host and port may have loopback, private and carrier-grade NAT addresses; nothing
    opens link-local (cloud metadata), multicast or reserved ones.
    """

    def __init__(self, opened: Iterable[tuple[str, int]] = ()) -> None:
        self._opened = frozenset(opened)
        self._opened_addresses: set[tuple[str, int]] = set()

    def is_opened(self, host: str, port: int) -> bool:
        """Whether the user has named this host and port."""
        return (host, port) in self._opened

    def check_literal(self, url: WebURL) -> None:
        """Check a URL whose host is an IP address; names pass, because the resolver checks them."""
        try:
            ipaddress.ip_address(url.host)
        except ValueError:
            return
        self.check(url.host, url.port, url.host)

    def check(self, host: str, port: int, address: str) -> None:
        """Raise AddressRefused unless `host`, requested at `port`, may have this address."""
        name = refusal(ipaddress.ip_address(address))
        if name is None:
            return
        if name in _OPENABLE and self.is_opened(host, port):
            self._opened_addresses.add((address, port))
            return
        of = "" if host == address else f" of {host}"
        raise AddressRefused(f"{address}{of} is {name}, not public")

    def make_socket(self, info: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
        """Aiohttp's socket factory: the last check of the address before connecting."""
        family, kind, proto, _, sockaddr = info
        address, port = str(sockaddr[0]), sockaddr[1]
        name = refusal(ipaddress.ip_address(address))
        if name is not None and (address, port) not in self._opened_addresses:
            raise AddressRefused(f"{address} is {name}, not public")
        return socket.socket(family, kind, proto)


class CheckedResolver(AbstractResolver):
    """Another resolver's answers, or AddressRefused if one of them is not public."""

    def __init__(self, inner: AbstractResolver, policy: AddressPolicy) -> None:
        self._inner = inner
        self._policy = policy

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Addresses to connect to. Raises OSError: no such name, or AddressRefused."""
        results = await self._inner.resolve(host, port, family)
        for result in results:
            self._policy.check(host, port, result["host"])
        return results

    async def close(self) -> None:
        """Close the resolver that was wrapped."""
        await self._inner.close()


class SystemResolver(AbstractResolver):
    """The operating system's resolver, in its own threads.

    A dead name can take getaddrinfo 10 s or more and cannot be interrupted. asyncio's shared pool
    has about six threads on two cores, which a few dead names would fill.
    """

    def __init__(self, threads: int = 64) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="resolve")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Addresses of a name. Raises socket.gaierror."""
        loop = asyncio.get_running_loop()
        infos = await loop.run_in_executor(self._pool, _look_up, host, port, family)
        return [
            ResolveResult(
                hostname=host,
                host=str(sockaddr[0]),
                port=port,
                family=family,
                proto=proto,
                flags=socket.AI_NUMERICHOST,
            )
            for family, _, proto, _, sockaddr in infos
        ]

    async def close(self) -> None:
        """Cancel look-ups that have not begun; the others end in their own time."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _look_up(
    host: str, port: int, family: int
) -> list[tuple[socket.AddressFamily, int, int, str, tuple[object, ...]]]:
    return list(
        socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    )
