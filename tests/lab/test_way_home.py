# SPDX-License-Identifier: Apache-2.0
"""DEL: the VF comes home from wherever it is by then."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import labnode
import pytest
import xdp
from labnode import DRIVERS, VF_DRIVER, Lab, Netns, VirtualFunction
from labpods import KERNEL, USERSPACE, attach, give, make_vif
from labpods import GivenPod as Pod

from kuryr_sriov import exceptions
from kuryr_sriov.node import Node

MakeVfs = Callable[..., list[VirtualFunction]]
MakeNetns = Callable[[], Netns]
DRIVERS_OF_VIFS = pytest.mark.parametrize('driver', [KERNEL, USERSPACE])


@pytest.fixture
def vf(lab: Lab, make_vfs: MakeVfs) -> VirtualFunction:
    return make_vfs(lab.pfs[0], 1)[0]


@pytest.fixture
def make_pod(
    vf: VirtualFunction, node: Node, make_netns: MakeNetns
) -> Callable[..., Pod]:
    def make(driver: str = KERNEL) -> Pod:
        return give(node, vf, make_vif(1, driver), make_netns())

    return make


@pytest.fixture
def pod(make_pod: Callable[..., Pod]) -> Pod:
    return make_pod()


@contextlib.contextmanager
def interface(name: str) -> Iterator[None]:
    """Somebody else's, in the node's own network namespace."""
    labnode.run('ip', 'link', 'add', name, 'type', 'dummy')
    try:
        yield
    finally:
        labnode.run('ip', 'link', 'delete', name)


def test_from_a_netns_that_is_alive(pod: Pod) -> None:
    assert pod.comes_home()


@DRIVERS_OF_VIFS
def test_when_the_netns_is_gone(
    make_pod: Callable[..., Pod], driver: str
) -> None:
    pod = make_pod(driver)
    pod.netns.delete()
    assert pod.comes_home()


def test_when_the_pod_has_changed_it(pod: Pod) -> None:
    pod.netns.run('ip', 'link', 'set', 'net1', 'down')
    pod.netns.run(
        *('ip', 'link', 'set', 'net1', 'name', 'other', 'mtu', '1300'),
    )
    pod.netns.run('ip', 'link', 'set', 'other', 'alias', 'mine')
    assert pod.comes_home()


def shown(vf: VirtualFunction) -> dict[str, Any]:
    """All that the kernel tells of its netdev, but for passing things."""
    labnode.settle()
    link = vf.link()
    # igbvf remembers the MAC in use, or makes one up, whenever it resets.
    return {
        name: value
        for name, value in link.items()
        if name not in ('ifindex', 'permaddr')
    }


PROPERTY = 'ip', 'link', 'property', 'add', 'dev', 'net1', 'altname'
HOSTILE = {
    'link attributes': (
        ('ip', 'link', 'set', 'net1', 'arp', 'off', 'multicast', 'off'),
        ('ip', 'link', 'set', 'net1', 'promisc', 'on', 'allmulticast', 'on'),
        ('ip', 'link', 'set', 'net1', 'txqueuelen', '5', 'group', '9'),
        ('ip', 'link', 'set', 'net1', 'mode', 'dormant'),
        ('ip', 'link', 'set', 'net1', 'gso_max_size', '9000'),
    ),
    'XDP program': ((sys.executable, xdp.__file__, 'net1'),),
    'alternative names': (
        (*PROPERTY, 'net2'),
        (*PROPERTY, 'hostif'),
    ),
    'nothing': (),
}


@pytest.mark.parametrize('deeds', HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize('netns_gone', [False, True])
def test_nothing_that_a_hostile_pod_leaves_reaches_the_next(
    vf: VirtualFunction,
    make_pod: Callable[..., Pod],
    deeds: tuple[tuple[str, ...], ...],
    netns_gone: bool,
) -> None:
    before = shown(vf)
    pod = make_pod()
    for deed in deeds:
        pod.netns.run(*deed)
    with interface('hostif'):
        if netns_gone:
            pod.netns.delete()
        assert pod.comes_home()
    assert shown(vf) == before


def test_when_the_pod_has_renamed_it_and_the_netns_is_gone(pod: Pod) -> None:
    pod.netns.run('ip', 'link', 'set', 'net1', 'down')
    pod.netns.run('ip', 'link', 'set', 'net1', 'name', 'other')
    pod.netns.delete()
    assert pod.comes_home()


@pytest.mark.parametrize('netns_gone', [False, True])
def test_when_the_pods_name_is_taken_on_the_host(
    pod: Pod, netns_gone: bool
) -> None:
    with interface('net1'):
        if netns_gone:
            pod.netns.delete()
        assert pod.comes_home()


def test_when_its_own_name_is_taken_all_else_is_restored(pod: Pod) -> None:
    """And the name as soon as it is free."""
    name = pod.before['ifname']
    with interface(name):
        pod.node.detach(pod.netns.name)
        now = pod.vf.state()
    (record,) = pod.node.attachments()
    assert f'another interface has its name {name}' in record.owed
    assert now['ifname'] != 'net1'
    pod.node.reconcile()
    assert pod.comes_home()
    for state in (now, pod.before):
        del state['ifname'], state['altnames']
    assert now == pod.before


def test_when_its_netdev_is_not_there_yet(pod: Pod) -> None:
    """Its driver is just being bound."""
    pod.vf.unbind()
    bind = DRIVERS / VF_DRIVER / 'bind'
    with ThreadPoolExecutor() as others:
        others.submit(bind.write_text, pod.vf.pci)
        assert pod.comes_home()


@DRIVERS_OF_VIFS
def test_when_somebody_has_unbound_its_driver(
    make_pod: Callable[..., Pod], driver: str
) -> None:
    pod = make_pod(driver)
    pod.vf.unbind()
    assert pod.comes_home()


def test_when_somebody_has_bound_another_driver(pod: Pod) -> None:
    pod.vf.bind('vfio-pci')
    assert pod.comes_home()


@pytest.mark.parametrize('pinned', [VF_DRIVER, 'vfio-pci'])
@DRIVERS_OF_VIFS
def test_when_an_operator_has_pinned_it_to_a_driver(
    vf: VirtualFunction,
    make_pod: Callable[..., Pod],
    driver: str,
    pinned: str,
) -> None:
    """By driver_override, which the library needs for itself meanwhile."""
    if (driver, pinned) == (USERSPACE, 'vfio-pci'):
        vf.bind('vfio-pci')  # the how-to's own way
    (vf.path / 'driver_override').write_text(pinned)
    pod = make_pod(driver)
    assert pod.before['override'] == pinned
    assert pod.comes_home()


@DRIVERS_OF_VIFS
def test_when_another_sandbox_owns_it_by_now(
    make_pod: Callable[..., Pod], make_netns: MakeNetns, driver: str
) -> None:
    """The first one's DEL came too late, and touches nothing."""
    first = make_pod(driver)
    first.netns.delete()
    second = make_netns()
    attach(first.node, first.vf, make_vif(2, driver), second)
    running = first.vf.info()

    first.node.detach(first.netns.name)

    assert first.vf.info() == running
    first.node.check(second.name)
    first.node.detach(second.name)
    assert first.vf.state() == first.before


@DRIVERS_OF_VIFS
def test_when_the_vfs_were_made_anew(
    make_pod: Callable[..., Pod], driver: str
) -> None:
    pod = make_pod(driver)
    (again,) = pod.vf.pf.make_vfs(1)
    fresh = again.state()

    pod.node.detach(pod.netns.name)

    assert pod.node.ledger.all() == ()
    now = again.state()
    for state in (now, fresh, pod.before):
        del state['pf']['address']  # random
    assert now == fresh == pod.before


def test_when_the_vf_is_no_more(pod: Pod) -> None:
    pod.vf.pf.remove_vfs()
    pod.node.detach(pod.netns.name)
    assert pod.node.ledger.all() == ()


def test_when_the_pf_was_renamed(pod: Pod) -> None:
    """A PF is known by its PCI address."""
    pf = pod.vf.pf
    name = pf.ifname
    pf.rename('renamed')
    try:
        pod.node.check(pod.netns.name)
        assert pod.comes_home()
    finally:
        pf.rename(name)


def test_when_it_is_a_pf_it_is_refused(
    lab: Lab, node: Node, make_netns: MakeNetns
) -> None:
    """It would take the VFs of others with it."""
    pf = lab.pfs[0]
    before = lab.state()
    with pytest.raises(exceptions.DeviceMissing, match='is a PF'):
        attach(node, pf, make_vif(1), make_netns())
    assert lab.state() == before
    assert node.ledger.all() == ()
