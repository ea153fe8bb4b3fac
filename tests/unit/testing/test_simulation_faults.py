# SPDX-License-Identifier: Apache-2.0
"""Faults, hooks, counters, threads and processes of the simulated node."""

import errno
from concurrent import futures

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.testing.simulation.simulated_node import (
    Pf,
    SimulatedNode,
)

PF = '0000:02:00.0'
VF = '0000:02:10.0'
OTHER = '0000:02:10.2'


@pytest.fixture
def node(tmp_path):
    node = SimulatedNode(tmp_path, [Pf(PF, 'ens6', vfs=2)])
    yield node
    node.close()


def test_an_operation_fails_so_many_times(node):
    links, index = node.host.links, node.host.pci.device(VF).ifindex
    node.fail('set', errno.EIO, times=2)
    for _ in range(2):
        with pytest.raises(exceptions.KernelError) as caught:
            links.set(index, mtu=1400)
        assert caught.value.errno == errno.EIO
    links.set(index, mtu=1400)


def test_a_busy_one_is_asked_again(node):
    links, index = node.host.links, node.host.pci.device(VF).ifindex
    node.fail('set', errno.EBUSY, times=3)
    links.set(index, mtu=1400)
    assert links.requests == {'set': 4}


def test_only_on_one_function(node):
    links = node.host.links
    node.fail('find', errno.EIO, pci=OTHER)
    assert links.find(VF, '')
    with pytest.raises(exceptions.KernelError):
        links.find(OTHER, '')


def test_a_hook_is_called_before_each_change(node):
    seen = []
    node.on_change(lambda name: seen.append((name, node.state()[VF])))
    links = node.host.links
    index, pf = (node.host.pci.device(pci).ifindex for pci in (VF, PF))
    before = node.state()[VF]
    links.set(index, up=True)
    links.add_address(index, '192.0.2.7/24', '')
    links.add_route(index, model.Route('198.51.100.0/24'), '')
    links.announce(index, ['192.0.2.7/24'], '')
    links.set_vf(pf, 0, model.VfSettings(trust=True))
    node.host.pci.bind(VF, 'vfio-pci', 5)
    assert seen[0] == ('set', before)
    assert [name for name, _ in seen] == [
        'set',
        'add_address',
        'add_route',
        'announce',
        'set_vf',
        'unbind',
        'driver_override',
        'bind',
        'driver_override',
    ]


def test_a_hook_that_raises_prevents_the_change(node):
    class Killed(BaseException):
        pass

    def kill(name):
        raise Killed(name)

    node.on_change(kill)
    before = node.state()
    with pytest.raises(Killed, match='unbind'):
        node.host.pci.bind(VF, 'vfio-pci', 5)
    assert node.state() == before


def test_many_threads_at_once(tmp_path):
    node = SimulatedNode(
        tmp_path, [Pf(PF, 'ens6', 16), Pf('0000:02:00.1', 'ens8', 16)]
    )
    host = node.host

    def work(pci):
        host.pci.bind(pci, 'vfio-pci', 30)
        host.pci.bind(pci, 'igbvf', 30)
        index = host.pci.wait_netdev(pci, 30).ifindex
        host.links.set(index, to=node.add_netns(f'/run/{pci}'), name='net1')
        return host.links.find(pci, f'/run/{pci}').name

    vfs = [*node.vfs(PF), *node.vfs('0000:02:00.1')]
    with futures.ThreadPoolExecutor(16) as pool:
        assert list(pool.map(work, vfs)) == ['net1'] * 32
    assert host.pci.writes['unbind'] == node.operations['unbind'] == 64
    assert {node.state()[pci].netns for pci in vfs} == {
        f'/run/{pci}' for pci in vfs
    }
