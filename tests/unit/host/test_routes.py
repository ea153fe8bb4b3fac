# SPDX-License-Identifier: Apache-2.0
"""Routes of a VF beside the pod's primary interface, on this kernel."""

import errno
import json

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.host.links import Netlink

V4, V6 = '0.0.0.0/0', '::/0'
GATEWAYS = {4: ('192.0.2.1', '198.51.100.1'), 6: ('fd00:1::1', 'fd00:2::1')}
ADDRESSES = {
    4: ('192.0.2.7/24', '198.51.100.7/24'),
    6: ('fd00:1::7/64', 'fd00:2::7/64'),
}
DEFAULTS = {4: V4, 6: V6}
ANYWHERE = {4: '203.0.113.9', 6: '2001:db8::9'}


class Sandbox:
    """A pod's netns with ``eth0`` and ``net1``, both up and addressed."""

    def __init__(self, netnses):
        self.netnses, self.links = netnses, Netlink()
        self.path, _, self.peer = netnses.veth('eth0', 'peer0')
        self.name = netnses.name(self.path)
        self.index = {'eth0': netnses.index(self.path, 'eth0')}
        self.add('net1')
        for ifname, position in (('eth0', 0), ('net1', 1)):
            self.set_up(ifname, position)

    def add(self, ifname):
        peer = self.netnses.name(self.peer)
        self.ip(
            *('link', 'add', ifname, 'type', 'veth'),
            *('peer', 'name', f'peer-{ifname}', 'netns', peer),
        )
        self.netnses.up(self.peer, f'peer-{ifname}')
        self.index[ifname] = self.netnses.index(self.path, ifname)

    def set_up(self, ifname, position):
        self.links.set(self.index[ifname], self.path, up=True)
        for addresses in ADDRESSES.values():
            self.links.add_address(
                self.index[ifname], addresses[position], self.path
            )

    def ip(self, *words):
        return self.netnses.ip('-n', self.name, *words)

    def add_route(self, ifname, destination, gateway=''):
        route = model.Route(destination, gateway)
        self.links.add_route(self.index[ifname], route, self.path)

    def leaves_by(self, destination):
        """The interface that a packet to it leaves by."""
        (route,) = json.loads(self.ip('-j', 'route', 'get', destination))
        return route['dev']


@pytest.fixture
def sandbox(netnses):
    sandbox = Sandbox(netnses)
    netnses.up(sandbox.peer, 'peer0')
    return sandbox


@pytest.mark.parametrize('version', [4, 6])
@pytest.mark.parametrize('metric', [(), ('metric', '100')])
def test_a_default_route_goes_before_the_primary_one(sandbox, version, metric):
    first, second = GATEWAYS[version]
    sandbox.ip('route', 'add', DEFAULTS[version], 'via', first, *metric)
    assert sandbox.leaves_by(ANYWHERE[version]) == 'eth0'
    sandbox.add_route('net1', DEFAULTS[version], second)
    assert sandbox.leaves_by(ANYWHERE[version]) == 'net1'


@pytest.mark.parametrize('version', [4, 6])
def test_the_primary_one_is_back_when_the_interface_has_left(
    sandbox, netnses, version
):
    """DEL of one interface, in a pod that lives on."""
    first, second = GATEWAYS[version]
    sandbox.ip('route', 'add', DEFAULTS[version], 'via', first)
    sandbox.add_route('net1', DEFAULTS[version], second)
    sandbox.links.set(
        sandbox.index['net1'], sandbox.path, to=netnses(), name='x'
    )
    assert sandbox.leaves_by(ANYWHERE[version]) == 'eth0'


@pytest.mark.parametrize('version', [4, 6])
def test_the_same_host_route_on_two_interfaces(sandbox, netnses, version):
    """Two ports of subnets with the same host routes."""
    destination = {4: '203.0.113.0/24', 6: '2001:db8::/32'}[version]
    for ifname, gateway in zip(
        ('eth0', 'net1'), GATEWAYS[version], strict=True
    ):
        sandbox.add_route(ifname, destination, gateway)
        index = sandbox.index[ifname]
        routes = sandbox.links.routes(index, sandbox.path)
        assert model.Route(destination, gateway) in routes
    assert sandbox.leaves_by(ANYWHERE[version]) == 'eth0'
    sandbox.ip('link', 'delete', 'eth0')
    assert sandbox.leaves_by(ANYWHERE[version]) == 'net1'


@pytest.mark.parametrize('version', [4, 6])
def test_the_same_route_twice_is_told(sandbox, version):
    gateway = GATEWAYS[version][1]
    sandbox.add_route('net1', DEFAULTS[version], gateway)
    with pytest.raises(exceptions.KernelError) as caught:
        sandbox.add_route('net1', DEFAULTS[version], gateway)
    assert caught.value.errno == errno.EEXIST


def test_a_route_says_that_somebody_has_set_it(sandbox):
    """Not the kernel: routing daemons and CHECK would overlook it."""
    sandbox.add_route('net1', '203.0.113.0/24', GATEWAYS[4][1])
    (route,) = json.loads(
        sandbox.ip('-j', '-d', 'route', 'show', '203.0.113.0/24')
    )
    assert route['protocol'] == 'static'
