# SPDX-License-Identifier: Apache-2.0
"""IP addresses as numbers, in one space for both versions.

IPv4 addresses are where IPv6 maps them (RFC 4291, 2.5.5.2), so that one
column and one order serve both. Pools are ranges of such numbers; an IPv6
pool is far too large to be listed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Prefix = ipaddress.IPv4Network | ipaddress.IPv6Network

MAPPED = 0xFFFF << 32


def to_number(address: Address) -> int:
    """The number of the address, in the one space."""
    return int(address) + (MAPPED if address.version == 4 else 0)


def to_address(number: int) -> Address:
    """The address of that number."""
    if number >> 32 == MAPPED >> 32:
        return ipaddress.IPv4Address(number - MAPPED)
    return ipaddress.IPv6Address(number)


def pool_size(pool: range) -> int:
    """How many addresses there are; ``len`` cannot count an IPv6 pool."""
    return pool.stop - pool.start


def usable_range(prefix: Prefix) -> range:
    """The addresses of a subnet that hosts may have.

    Not the network and broadcast addresses of IPv4, nor the subnet-router
    anycast address of IPv6 (RFC 4291, 2.6.1); all of a /31 and /32
    (RFC 3021), a /127 (RFC 6164) and a /128.
    """
    first, last = to_number(prefix[0]), to_number(prefix[-1])
    if prefix.max_prefixlen - prefix.prefixlen > 1:
        first += 1
        last -= prefix.version == 4
    return range(first, last + 1)


def without_address(pools: Iterable[range], hole: int) -> tuple[range, ...]:
    """The pools without one address."""
    pieces: list[range] = []
    for pool in pools:
        if hole in pool:
            pieces.append(range(pool.start, hole))
            pieces.append(range(hole + 1, pool.stop))
        else:
            pieces.append(pool)
    return tuple(filter(None, pieces))
