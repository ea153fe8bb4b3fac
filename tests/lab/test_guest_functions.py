# SPDX-License-Identifier: Apache-2.0
"""Functions without a PF, as a node that is a virtual machine has them.

Their MAC was set outside, and so was the wire they are on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import labnode
import labpods
import pytest
from labcards import CARDS, ONE_CARD, LendCard, MakeNetns
from labcrash import (
    STEPS,
    Doomed,
    Pod,
    die_everywhere_in_attach,
    die_everywhere_in_detach,
)
from labnode import Lab, Netns, PlainFunction, VirtualFunction
from labpods import KERNEL, USERSPACE, attach, make_vif
from labprograms import drive

from kuryr_sriov import exceptions
from kuryr_sriov.host.linux import NodeHost
from kuryr_sriov.node import Node

pytestmark = pytest.mark.topology('guest')

MakeVfs = Callable[..., list[VirtualFunction]]
OPTIONS = {'node_is_guest': 'true'}
PEER = '192.0.2.254'


@pytest.fixture
def options() -> dict[str, str]:
    return OPTIONS


@pytest.fixture
def peer(lab: Lab, make_vfs: MakeVfs, make_netns: MakeNetns) -> Netns:
    """Somebody else on the wire; frames with a VLAN tag he would not take."""
    netns = make_netns()
    netns.take(make_vfs(lab.pfs[0], 1)[0], 'net1', f'{PEER}/24')
    return netns


def vif_of(card: PlainFunction, driver: str, **more: Any) -> Any:
    """A VIF whose MAC is the one that was set outside."""
    return make_vif(1, driver, mac=card.mac, **more)


def test_a_pod_has_it_as_an_interface(
    node: Node, card: PlainFunction, peer: Netns, make_netns: MakeNetns
) -> None:
    before = card.state()
    assert before['address'] == card.mac
    pod = make_netns()

    attached = attach(node, card, vif_of(card, KERNEL, mtu=1400), pod)

    assert attached.device_info.pf_pci == ''
    link = pod.link('net1')
    assert (link['address'], link['mtu']) == (card.mac, 1400)
    assert pod.reaches(PEER)
    node.check(pod.name)
    node.detach(pod.name)
    assert card.state() == before


def test_a_program_drives_it(
    node: Node, card: PlainFunction, peer: Netns, make_netns: MakeNetns
) -> None:
    before = card.state()
    pod = make_netns()

    attached = attach(node, card, vif_of(card, USERSPACE), pod)

    group = f'/dev/vfio/{card.iommu_group}'
    assert attached.device_info.device_nodes == ('/dev/vfio/vfio', group)
    with drive(card, group) as told:
        assert told['device'] == card.read('device').removeprefix('0x')
        node.check(pod.name)
    node.detach(pod.name)
    assert card.state() == before
    # and its driver can drive it after the program
    later = make_netns()
    later.take(card, 'net1', '192.0.2.9/24')
    assert later.link('net1')['address'] == card.mac
    assert later.reaches(PEER)


@pytest.mark.parametrize(
    ('card', 'driver'),
    [('gigabit', KERNEL), ('virtual', USERSPACE)],
    indirect=['card'],
)
def test_it_comes_home_when_the_netns_is_gone(
    node: Node, card: PlainFunction, make_netns: MakeNetns, driver: str
) -> None:
    before = card.state()
    pod = make_netns()
    attach(node, card, vif_of(card, driver), pod)
    pod.delete()
    node.detach(pod.name)
    assert card.state() == before
    assert node.ledger.all() == ()


@ONE_CARD
def test_it_comes_home_as_it_was_when_the_pod_has_changed_it(
    node: Node, card: PlainFunction, make_netns: MakeNetns
) -> None:
    before = card.state()
    pod = make_netns()
    attach(node, card, vif_of(card, KERNEL), pod)
    pod.run('ip', 'link', 'set', 'net1', 'down')
    pod.run('ip', 'link', 'set', 'net1', 'address', '02:00:00:00:00:09')
    pod.run('ip', 'link', 'set', 'net1', 'name', 'other', 'mtu', '1300')
    with pytest.raises(exceptions.Drifted, match='mac'):
        node.check(pod.name)
    node.detach(pod.name)
    assert card.state() == before


@ONE_CARD
def test_what_only_the_hypervisor_can_set_is_refused(
    node: Node, card: PlainFunction, make_netns: MakeNetns
) -> None:
    before = card.state()
    vif = dataclasses.replace(vif_of(card, KERNEL), max_tx_rate=100)
    with pytest.raises(exceptions.UnsupportedSetting, match='hypervisor'):
        attach(node, card, vif, make_netns())
    assert card.state() == before
    assert node.ledger.all() == ()


@ONE_CARD
def test_on_bare_metal_it_is_refused(
    tmp_path: Path, card: PlainFunction, make_netns: MakeNetns
) -> None:
    """Nobody could put it on a VLAN there."""
    before = card.state()
    host = NodeHost(is_guest=False)
    with (
        labpods.start(tmp_path, host=host) as node,
        pytest.raises(exceptions.DeviceMissing, match='no PF'),
    ):
        attach(node, card, vif_of(card, KERNEL), make_netns())
    assert card.state() == before


@pytest.fixture
def make_pod(lend: LendCard, make_netns: MakeNetns) -> Callable[..., Pod]:
    """``make_pod(*drivers)``: a pod with both cards."""

    def make(*drivers: str) -> Pod:
        functions = [lend(name) for name in CARDS]
        macs = [function.mac for function in functions]
        return Pod(make_netns(), functions, drivers, macs)

    return make


def test_killed_in_attach(
    doomed: Doomed, make_pod: Callable[..., Pod]
) -> None:
    die_everywhere_in_attach(doomed, make_pod(KERNEL, USERSPACE))
    assert doomed.seen >= {
        *(*STEPS[:-1], 'set', 'add_address'),
        *('driver_override', 'unbind', 'bind'),
    }
    assert 'set_vf' not in doomed.seen


def test_killed_in_detach(
    doomed: Doomed, make_pod: Callable[..., Pod]
) -> None:
    die_everywhere_in_detach(doomed, make_pod(USERSPACE, KERNEL))
    assert doomed.seen >= {'restore', 'set', 'unbind', 'bind', 'forget'}
    assert 'set_vf' not in doomed.seen


def test_the_topology_is_what_it_promises(lab: Lab) -> None:
    assert labnode.topology() == 'guest'
    assert {card.name: card.driver for card in lab.plain} == CARDS
    for card in lab.plain:
        assert not (card.path / 'physfn').exists()
        assert card.link()['address'] == card.mac
