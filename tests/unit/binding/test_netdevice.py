# SPDX-License-Identifier: Apache-2.0
"""What the netdevice driver asks of the kernel, request by request."""

import dataclasses
import errno
import types

import pytest
from values import VIF

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding.netdevice import NetdeviceDriver

PCI, POD = '0000:00:05.0', '/run/netns/pod'
LINK = model.Link(
    *(4, 'ens5', VIF.mac, VIF.mtu), up=True, alias='ens5v0', pci=PCI
)


class Host:
    """A VM with one VF, and what was asked of it.

    :ivar kernel: errors of the next calls, by name.
    """

    is_guest = True

    def __init__(self):
        self.links = self.pci = self.rdma = self
        self.asked = []
        self.kernel = {}
        self.bound_to = 'iavf'
        self.here = LINK
        self.there = dataclasses.replace(LINK, name='net1')
        self.addresses_there = list(VIF.addresses)
        self.routes_there = [
            *VIF.routes,
            model.Route('0.0.0.0/0', '192.168.2.1'),
        ]

    def ask(self, *call):
        self.asked.append(call)
        if self.kernel.get(call[0]):
            raise self.kernel[call[0]].pop(0)

    def device(self, pci):
        assert pci == PCI
        return model.PciDevice(
            *(pci, '8086', '1889', self.bound_to), ifindex=4
        )

    identify = device

    def wait_netdev(self, pci, timeout):
        return self.device(pci)

    def bind(self, pci, driver, timeout):
        self.ask('bind', pci, driver)

    def get(self, index, netns=''):
        return self.here

    def find(self, pci, netns):
        assert (pci, netns) == (PCI, POD)
        return self.there

    def alive(self, netns):
        return True

    def set(self, index, netns='', **changes):
        self.ask('set', index, netns, changes)

    def add_address(self, index, address, netns):
        self.ask('add_address', index, address, netns)

    def add_route(self, index, route, netns):
        self.ask('add_route', index, route, netns)

    def announce(self, index, addresses, netns):
        self.ask('announce', index, addresses, netns)

    def addresses(self, index, netns):
        return self.addresses_there

    def routes(self, index, netns):
        return self.routes_there


@pytest.fixture
def host():
    return Host()


@pytest.fixture
def driver(host):
    conf = types.SimpleNamespace(device_timeout=0.1)
    return NetdeviceDriver('netdevice', host, conf)


@pytest.fixture
def attachment():
    vif = dataclasses.replace(VIF, spoofchk=None, trust=None)
    vif = dataclasses.replace(
        vif,
        **dict.fromkeys(('min_tx_rate', 'max_tx_rate', 'link_state')),
        vlan_qos=0,
        vlan_proto='802.1q',
    )
    pod = model.Pod('default', 'web', 'uid')
    original = model.VfState('iavf', ifname='ens5v0')
    sandbox = model.Sandbox('c1', POD, pod)
    return model.Attachment(
        sandbox, vif, PCI, driver='netdevice', original=original
    )


MOVED = {
    'to': POD,
    'name': 'net1',
    'mtu': VIF.mtu,
    'alias': 'ens5v0',
    'up': True,
}
MOVE = 'set', 4, '', MOVED
L3 = [
    *(('add_address', 4, address, POD) for address in VIF.addresses),
    ('add_route', 4, VIF.routes[0], POD),
    ('add_route', 4, model.Route('0.0.0.0/0', '192.168.2.1'), POD),
]


def test_it_moves_in_one_request_and_gets_its_addresses_in_order(
    host, driver, attachment
):
    driver.connect(attachment)
    assert host.asked == [MOVE, *L3]


def test_a_default_gateway_of_ipv6_is_one(host, driver, attachment):
    vif = dataclasses.replace(attachment.vif, gateways=('fd00::1',))
    driver.connect(dataclasses.replace(attachment, vif=vif))
    assert host.asked[-1][2] == model.Route('::/0', 'fd00::1')


def test_its_name_travels_along_where_none_is_on_record(
    host, driver, attachment
):
    original = model.VfState('vfio-pci')
    driver.connect(dataclasses.replace(attachment, original=original))
    ((*_, moved), *_) = host.asked
    assert moved == {**MOVED, 'alias': 'ens5'}


@pytest.mark.parametrize(
    ('name', 'bound_to', 'binds'),
    [
        ('netdevice', 'iavf', []),
        ('netdevice', 'vfio-pci', [None]),
        ('netdevice', '', [None]),
        ('iavf', 'iavf', []),
        ('iavf', 'vfio-pci', ['iavf']),
        ('i40evf', 'iavf', ['i40evf']),
        ('virtio_net', 'iavf', ['virtio-pci']),
    ],
)
def test_it_is_bound_only_where_it_has_to_be(host, name, bound_to, binds):
    conf = types.SimpleNamespace(device_timeout=0.1)
    host.bound_to = bound_to
    NetdeviceDriver(name, host, conf).ensure_driver(host.device(PCI))
    assert host.asked == [('bind', PCI, driver) for driver in binds]


def test_the_mac_of_a_port_that_was_there_is_never_set(
    host, driver, attachment
):
    vif = dataclasses.replace(attachment.vif, provider_network='net')
    host.here = dataclasses.replace(LINK, mac='02:00:00:00:00:09')
    with pytest.raises(
        exceptions.UnsupportedSetting,
        match=f'VF {PCI} has 02:00:00:00:00:09, so it is not port {vif.id}',
    ):
        driver.connect(dataclasses.replace(attachment, vif=vif))
    assert host.asked == []


def test_a_mac_is_set_on_a_closed_netdev_before_it_moves(
    host, driver, attachment
):
    host.here = dataclasses.replace(LINK, mac='02:00:00:00:00:09')
    driver.connect(attachment)
    assert host.asked == [
        ('set', 4, '', {'up': False}),
        ('set', 4, '', {'mac': VIF.mac}),
        *(MOVE, *L3),
    ]


def test_a_mac_that_is_refused_is_taken_when_its_driver_is_bound_again(
    host, driver, attachment
):
    host.here = dataclasses.replace(LINK, mac='02:00:00:00:00:09', up=False)
    host.kernel['set'] = [exceptions.KernelError('no', errno.EPERM)]
    driver.connect(attachment)
    assert host.asked == [
        ('set', 4, '', {'mac': VIF.mac}),
        *(('bind', PCI, ''), ('bind', PCI, 'iavf')),
        *(MOVE, *L3),
    ]


def test_a_move_that_the_kernel_was_busy_for_is_finished_where_it_is(
    host, driver, attachment
):
    """It may have arrived, and be without its settings."""
    host.kernel['set'] = [exceptions.DeviceBusy('resetting')]
    driver.connect(attachment)
    there = 'set', 4, POD, {**MOVED, 'to': None}
    assert host.asked == [MOVE, there, *L3]


def test_a_name_that_the_pod_has_already_is_named(host, driver, attachment):
    host.kernel['set'] = [exceptions.KernelError('no', errno.EEXIST)]
    with pytest.raises(
        exceptions.KernelError, match='net1 exists already in pod default/web'
    ) as raised:
        driver.connect(attachment)
    assert raised.value.errno == errno.EEXIST


def test_a_refused_move_is_told_as_it_was_refused(host, driver, attachment):
    refusal = exceptions.KernelError('no memory', errno.ENOMEM)
    host.kernel['set'] = [refusal]
    host.there = None
    with pytest.raises(exceptions.KernelError) as raised:
        driver.connect(attachment)
    assert raised.value is refusal
    assert host.asked == [MOVE]


@pytest.mark.parametrize('setting', ['mac', 'mtu'])
def test_a_setting_that_the_vf_keeps_is_named(
    host, driver, attachment, setting
):
    kept = {'mac': '02:00:00:00:00:09', 'mtu': 1500}[setting]
    host.there = dataclasses.replace(LINK, **{setting: kept})
    with pytest.raises(
        exceptions.UnsupportedSetting,
        match=f'net1: {setting} .* cannot be set on VF .*keeps {kept};',
    ) as raised:
        driver.connect(attachment)
    assert raised.value.setting == setting
    assert host.asked == [MOVE]


def test_a_netdev_that_did_not_arrive_is_worth_a_retry(
    host, driver, attachment
):
    host.there = None
    with pytest.raises(
        exceptions.DeviceBusy, match=f'did not arrive in {POD}'
    ):
        driver.connect(attachment)


def test_neighbours_are_told_of_addresses_that_there_are(
    host, driver, attachment
):
    driver.announce(attachment)
    bare = dataclasses.replace(attachment.vif, addresses=())
    driver.announce(dataclasses.replace(attachment, vif=bare))
    host.there = None
    driver.announce(attachment)
    assert host.asked == [('announce', 4, VIF.addresses, POD)]


def test_each_difference_is_named(host, driver, attachment):
    driver.check(attachment)
    host.there = dataclasses.replace(
        LINK, name='other', mac='02:00:00:00:00:09', mtu=1500, up=False
    )
    with pytest.raises(exceptions.Drifted) as raised:
        driver.check(attachment)
    assert (
        'name is other, not net1; mac is 02:00:00:00:00:09, not '
        f'{VIF.mac}; mtu is 1500, not 1450; it is down; delete the pod'
    ) in str(raised.value)


def test_what_is_gone_from_a_netdev_is_named_and_other_spellings_are_not(
    host, driver, attachment
):
    host.addresses_there = ['fd00:0002::0007/64']
    host.routes_there = [model.Route('10.9.0.0/16', '192.168.2.254')]
    with pytest.raises(exceptions.Drifted) as raised:
        driver.check(attachment)
    assert (
        ': address 192.168.2.7/24 is gone; route 0.0.0.0/0 via 192.168.2.1 '
        'is gone; delete the pod'
    ) in str(raised.value)


def test_the_seconds_of_its_own_section_count(host):
    """As of a vendor's driver that has one."""
    driver = NetdeviceDriver('netdevice', host, types.SimpleNamespace())
    assert driver.device_timeout == 10
    conf = types.SimpleNamespace(device_timeout=3)
    assert NetdeviceDriver('netdevice', host, conf).device_timeout == 3
