# SPDX-License-Identifier: Apache-2.0
"""Addresses as numbers."""

import ipaddress
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuryr_sriov.drivers.local import ip_ranges

SMALL = st.integers(0, 40)
DISJOINT = st.lists(SMALL, min_size=2, unique=True).map(
    lambda cuts: [
        range(start, stop) for start, stop in itertools.pairwise(sorted(cuts))
    ][::2]
)


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_number_and_back(ip):
    again = ip_ranges.to_address(ip_ranges.to_number(ip))
    assert again == ip or again == ip.ipv4_mapped


@pytest.mark.parametrize(
    ('prefix', 'first', 'last'),
    [
        ('192.168.2.0/24', '192.168.2.1', '192.168.2.254'),
        ('192.168.2.0/30', '192.168.2.1', '192.168.2.2'),
        ('192.168.2.0/31', '192.168.2.0', '192.168.2.1'),
        ('192.168.2.7/32', '192.168.2.7', '192.168.2.7'),
        ('2001:db8::/126', '2001:db8::1', '2001:db8::3'),
        ('2001:db8::/127', '2001:db8::', '2001:db8::1'),
        ('2001:db8::/128', '2001:db8::', '2001:db8::'),
    ],
)
def test_usable(prefix, first, last):
    pool = ip_ranges.usable_range(ipaddress.ip_network(prefix))
    assert str(ip_ranges.to_address(pool.start)) == first
    assert str(ip_ranges.to_address(pool.stop - 1)) == last


@given(DISJOINT, SMALL)
def test_without(pools, hole):
    left = ip_ranges.without_address(pools, hole)
    assert set().union(*left) == set().union(*pools) - {hole}
    assert all(left)
