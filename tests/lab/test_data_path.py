# SPDX-License-Identifier: Apache-2.0
"""Frames between pods that the library has wired."""

from __future__ import annotations

from collections.abc import Callable

import labnode
import pytest
from labnode import Lab, Netns, VirtualFunction
from labpods import VLAN, make_vif

from kuryr_sriov import exceptions, model
from kuryr_sriov.node import Node

MakeVfs = Callable[..., list[VirtualFunction]]
Attach = Callable[[VirtualFunction, model.Vif], Netns]
STALE = '02:00:00:00:00:99'
ROUTED = '198.51.100.1', '2001:db8:1::1'


def test_who_is_on_the_vlan_and_wire_is_reached(
    lab: Lab, make_vfs: MakeVfs, attach: Attach
) -> None:
    """Across VFs of one PF, and across PFs on one wire, by IPv4 and IPv6."""
    first, second = lab.on_wire('wire0')
    vfs = make_vfs(first, 3)
    pod = attach(vfs[0], make_vif(1))
    attach(vfs[1], make_vif(2))
    attach(make_vfs(second, 1)[0], make_vif(3))
    attach(vfs[2], make_vif(4, vlan=VLAN + 1))
    attach(make_vfs(lab.on_wire('wire1')[0], 1)[0], make_vif(5))

    for number in (2, 3):
        assert pod.reaches(f'192.0.2.{number}')
        assert pod.reaches(f'2001:db8::{number}')
    for number in (4, 5):
        assert not pod.reaches(f'192.0.2.{number}', tries=1)
        assert not pod.reaches(f'2001:db8::{number}', tries=1)


def test_a_vlan_changed_under_a_running_pod(
    lab: Lab, make_vfs: MakeVfs, attach: Attach, node: Node
) -> None:
    """The wire shows it, and so does CNI CHECK."""
    vfs = make_vfs(lab.pfs[0], 2)
    pods = [attach(vf, make_vif(n)) for n, vf in enumerate(vfs, 1)]
    assert pods[0].reaches('192.0.2.2')
    node.check(pods[1].name)

    vfs[1].configure('vlan', '200')
    assert not pods[0].reaches('192.0.2.2', tries=1)
    with pytest.raises(exceptions.Drifted, match='vlan is 200, not 100'):
        node.check(pods[1].name)

    vfs[1].configure('vlan', str(VLAN))
    assert pods[0].reaches('192.0.2.2')
    node.check(pods[1].name)


def test_neighbours_are_told_who_has_the_addresses_now(
    lab: Lab, make_vfs: MakeVfs, attach: Attach, node: Node
) -> None:
    """Gratuitous ARP and unsolicited NA: no one waits for a cache."""
    vfs = make_vfs(lab.pfs[0], 2)
    neighbour = attach(vfs[0], make_vif(1))
    for address in ('192.0.2.2', '2001:db8::2'):
        neighbour.run(
            *('ip', 'neigh', 'add', address, 'lladdr', STALE),
            *('nud', 'reachable', 'dev', 'net1'),
        )

    newcomer = attach(vfs[1], make_vif(2))
    # A slow machine's link takes longer than an announcement waits for it.
    labnode.wait_for(
        'the link of the new pod',
        lambda: 'LOWER_UP' in newcomer.link('net1')['flags'],
    )
    node.announce(newcomer.name)

    labnode.wait_for(
        'the MAC of the new pod in the cache of its neighbour',
        lambda: STALE not in neighbour.run('ip', 'neigh', 'show'),
    )
    known = neighbour.run('ip', 'neigh', 'show')
    for address in ('192.0.2.2', '2001:db8::2'):
        assert f'{address} dev net1 lladdr {make_vif(2).mac}' in known


def test_gateways_and_routes_lead_out_of_the_subnet(
    lab: Lab, make_vfs: MakeVfs, attach: Attach
) -> None:
    vfs = make_vfs(lab.pfs[0], 2)
    router = attach(vfs[0], make_vif(1))
    for address in (*ROUTED, '203.0.113.1'):
        router.run('ip', 'address', 'add', address, 'dev', 'lo')
    pod = attach(
        vfs[1],
        make_vif(
            2,
            gateways=('192.0.2.254', '2001:db8::1'),
            routes=(
                model.Route('198.51.100.0/24', '192.0.2.1'),
                model.Route('203.0.113.0/24'),
            ),
        ),
    )

    for address in ROUTED:
        assert pod.reaches(address)
    assert pod.run('ip', 'route', 'get', '203.0.113.1').startswith(
        '203.0.113.1 dev net1'
    )
    assert 'via 192.0.2.254' in pod.run('ip', 'route', 'get', '9.9.9.9')
