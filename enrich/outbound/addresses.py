"""Is an address on the public internet? Pure.

Nothing of this is left to the ``ipaddress`` module's own flags: they changed between the releases of Python
that enrich runs on. Source: IANA's IPv4 and IPv6 Special-Purpose Address Registries, unless said.
"""

from __future__ import annotations

import ipaddress

__all__ = ["is_public", "plain"]

_CLOSED_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network; Linux takes 0.0.0.0 for itself
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers; some clouds keep their metadata here
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local; the other clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays, withdrawn
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "168.63.129.16/32",  # public by number, yet each Azure machine reaches its own host there
    )
)

#: All that is handed out for the public internet so far; the rest is closed without being listed.
_UNICAST_V6 = ipaddress.IPv6Network("2000::/3")

_CLOSED_V6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which leads to an IPv4 address
        "3fff::/20",  # documentation
    )
)

#: Leads to the IPv4 address in its last 32 bits; DNS64 gives these for IPv4 hosts in an IPv6-only network.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

#: Interface identifiers that ISATAP makes of IPv4 addresses; RFC 5214 section 6.1.
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)


def is_public(address: str) -> bool:
    """Return whether an address, as text, is one of the public internet; False for what is no address.

    An IPv4 address inside an IPv6 one is judged in its stead where it is reached by it (mapped, NAT64 with
    the well-known prefix); other forms that hold one, and zone ids, are never public.
    """
    parsed = plain(address)
    if parsed is None:
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return not any(parsed in network for network in _CLOSED_V4)
    if parsed in _NAT64:
        return is_public(str(ipaddress.IPv4Address(int(parsed) & 0xFFFF_FFFF)))
    if parsed not in _UNICAST_V6 or any(parsed in network for network in _CLOSED_V6):
        return False
    return (int(parsed) >> 32) & 0xFFFF_FFFF not in _ISATAP


def plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address in its only form: a mapped one as IPv4; None for zone ids and what is no address."""
    if "%" in address:
        return None
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed
