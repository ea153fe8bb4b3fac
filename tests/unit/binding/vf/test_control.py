# SPDX-License-Identifier: Apache-2.0
"""What a PF is asked for a VF of its, request by request."""

import dataclasses
import errno
import types

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding.vf.control import LinkDown, PfControl
from kuryr_sriov.testing.simulation.hardware import UNTOUCHED

PF, VF = '0000:02:00.0', '0000:02:10.0'
HELD = dataclasses.replace(
    UNTOUCHED, mac='fa:16:3e:00:00:01', node_guid=None, port_guid=None
)


class Nic:
    """A PF, by its netdev; it refuses what ``refuses`` raises for.

    :ivar sent: what it was asked to set.
    """

    def __init__(self):
        self.held, self.sent = HELD, []
        self.carrier = True
        self.refuses = lambda settings: None

    def pf(self, index):
        assert index == 7
        link = model.Link(
            *(index, 'ens6', '', 1500), pci=PF, carrier=self.carrier
        )
        return types.SimpleNamespace(link=link, vfs=[None, self.held])

    def get(self, index):
        return self.pf(index).link

    def set_vf(self, index, vf, settings):
        assert (index, vf) == (7, 1)
        self.sent.append(changes_of(settings))
        number = self.refuses(settings)
        if number:
            raise exceptions.KernelError('no', number)
        self.held = dataclasses.replace(self.held, **self.sent[-1])


def changes_of(settings):
    """Those that are set, by name."""
    return {
        field.name: value
        for field in dataclasses.fields(settings)
        if (value := getattr(settings, field.name)) is not None
    }


@pytest.fixture
def nic():
    return Nic()


@pytest.fixture
def control(nic):
    pci = types.SimpleNamespace(ifindex={PF: 7}.get)
    device = types.SimpleNamespace(pci=VF, pf=PF, vf_index=1)
    return PfControl(types.SimpleNamespace(links=nic, pci=pci), device, 0.1)


def test_what_is_so_already_costs_no_request(nic, control):
    control.set(HELD, HELD)
    control.set(model.VfSettings(mac=HELD.mac), HELD)
    assert nic.sent == []


def test_a_group_of_which_one_differs_is_sent_whole(nic, control):
    control.set(model.VfSettings(vlan=5, trust=True), HELD)
    vlan = {'vlan': 5, 'vlan_qos': 0, 'vlan_proto': '802.1q'}
    assert nic.sent == [{**vlan, 'trust': True}]


def test_a_pf_without_link_owes_the_rates_and_nothing_else(nic, control):
    def refuses(settings):
        asks = settings.min_tx_rate or settings.max_tx_rate
        return errno.EINVAL if asks else 0

    nic.refuses, nic.carrier = refuses, False
    target = dataclasses.replace(
        HELD, min_tx_rate=10, max_tx_rate=100, link_state='enable'
    )
    owed = control.restore(target, HELD)
    assert owed == (
        f'{VF}: no rate can be set (no) while its PF ens6 ({PF}) has no '
        'link: set it up, see its cable and switch'
    )
    rates = {'min_tx_rate': 10, 'max_tx_rate': 100}
    first = {**rates, 'link_state': 'enable'}
    assert nic.sent == [first, first, {'link_state': 'enable'}]
    with pytest.raises(LinkDown):
        control.set(target, nic.held)


@pytest.mark.parametrize(
    ('number', 'times'),
    [
        (errno.EINVAL, 2),  # it may be resetting
        (errno.EOPNOTSUPP, 1),
    ],
)
def test_a_refusal_that_may_pass_is_tried_twice(nic, control, number, times):
    nic.refuses = lambda settings: number
    with pytest.raises(exceptions.UnsupportedSetting, match='refuses'):
        control.set(model.VfSettings(trust=True), HELD)
    assert len(nic.sent) == times


def test_a_refusal_of_what_was_set_all_the_same_is_an_error(nic, control):
    def refuses(settings):
        nic.held = dataclasses.replace(nic.held, trust=True)
        return errno.EOPNOTSUPP

    nic.refuses = refuses
    with pytest.raises(exceptions.KernelError, match='no'):
        control.set(model.VfSettings(trust=True), HELD)


def test_a_setting_that_is_kept_otherwise_is_named(nic, control):
    nic.set_vf = lambda *arguments: None
    with pytest.raises(
        exceptions.UnsupportedSetting,
        match='trust True cannot be set: the NIC accepted it and kept',
    ) as raised:
        control.set(model.VfSettings(trust=True), HELD)
    assert raised.value.setting == 'trust'


def test_a_setting_that_the_nic_does_not_have_is_named_untried(nic, control):
    without = dataclasses.replace(HELD, trust=None)
    with pytest.raises(
        exceptions.UnsupportedSetting, match='the NIC has none'
    ) as raised:
        control.set(model.VfSettings(trust=True), without)
    assert raised.value.setting == 'trust'
    assert nic.sent == []


def test_another_error_is_the_callers(nic, control):
    nic.refuses = lambda settings: errno.EIO
    with pytest.raises(exceptions.KernelError) as raised:
        control.set(model.VfSettings(trust=True), HELD)
    assert raised.value.errno == errno.EIO
    assert len(nic.sent) == 1


def test_a_vf_of_which_the_pf_tells_nothing_is_named(nic, control):
    nic.held = None
    with pytest.raises(
        exceptions.DeviceBusy,
        match=rf'ens6 \({PF}\) tells nothing of its VF 1 \({VF}\)',
    ):
        control.read()


def test_a_pf_without_netdev_is_told_where_to_look(nic):
    host = types.SimpleNamespace(
        links=nic, pci=types.SimpleNamespace(ifindex=lambda pci: 0)
    )
    device = types.SimpleNamespace(pci=VF, pf=PF, vf_index=1)
    with pytest.raises(
        exceptions.DeviceBusy, match=f'{PF}: the PF of VF {VF} has no netdev'
    ):
        PfControl(host, device, 1)
