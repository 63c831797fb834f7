"""Which network addresses a stranger's URL may lead us to."""

from __future__ import annotations

import ipaddress
import socket
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Beyond what `ipaddress` calls not global. Some of these it does only in later patch releases.
_REFUSED: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # Azure's host agent: a public address, reachable only from inside a VM
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata service is 192.0.0.192
        "192.88.99.0/24",  # 6to4 relays
        "2001::/32",  # Teredo: an IPv4 address inside
        "2002::/16",  # 6to4: likewise
        "64:ff9b:1::/48",  # NAT64 of private use
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
        "fec0::/10",  # site-local, given up in 2004 and still routed by who has it
    )
)
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


def resolve(host: str, port: int) -> list[Address]:
    """All addresses of a host, in the order in which they should be tried.

    Raises:
        OSError: the name cannot be resolved.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # A scope ("%eth0") belongs to link-local addresses only, which stay refused without it.
    return list(dict.fromkeys(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


def is_public(address: Address) -> bool:
    """Whether the address is of the open internet: not private, loopback, link-local, metadata, …"""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    if any(address.version == network.version and address in network for network in _REFUSED):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved
