# SPDX-License-Identifier: Apache-2.0
"""Which port each VF of a VM is, and what a promise becomes on it."""

import dataclasses

import pytest
from values import VIF

from kuryr_sriov import exceptions, model
from kuryr_sriov.handlers.choose_vfs import AttachRequest
from kuryr_sriov.handlers.guest_ports import (
    CompleteVifs,
    IdentifyPorts,
    ask_nobody,
    find_port,
)

POD = model.Pod('default', 'web', 'uid')
SANDBOX = model.Sandbox('c1', '/run/netns/c1', POD)
PCIS = '0000:00:05.0', '0000:00:06.0'
PORT = model.GuestPort(
    id='port-1',
    mac='fa:16:3e:00:00:09',
    network='net-id',
    addresses=('10.0.0.9/24',),
    routes=(model.Route('10.9.0.0/16', '10.0.0.1'),),
    dns=('10.0.0.2',),
    mtu=1400,
)
PROMISE = dataclasses.replace(
    VIF,
    **{'id': '', 'mac': '', 'provider_network': 'net-id'},
    **dict.fromkeys(('addresses', 'routes', 'dns'), ()),
    mtu=0,
)
MADE = dataclasses.replace(
    PROMISE,
    id='port-1',
    mac='fa:16:3e:00:00:09',
    addresses=('10.0.0.9/24',),
    routes=PORT.routes,
    dns=('10.0.0.2',),
    mtu=1400,
)
RESOURCE = PROMISE.resource
DEVICES = tuple(model.Device(RESOURCE, pci) for pci in PCIS)
RECORD = model.Attachment(SANDBOX, MADE, PCIS[0], 'netdevice')


class Ledger:
    def __init__(self, *records):
        self.records = records

    def of(self, container_id):
        assert container_id == 'c1'
        return self.records


def complete(request, *records, lone=True, ask=None):
    step = CompleteVifs(Ledger(*records), lambda pci: lone, ask)
    return step.run(request)


def request_of(*vifs, **more):
    pairs = tuple(zip(vifs, PCIS, strict=False))
    ports = dict.fromkeys(PCIS, PORT)
    fields = {'devices': DEVICES, 'pairs': pairs, 'ports': ports}
    return AttachRequest(SANDBOX, vifs, **{**fields, **more})


def test_a_promise_becomes_all_that_its_port_is():
    ordinary = dataclasses.replace(VIF, ifname='net2')
    done = complete(request_of(PROMISE, ordinary))
    assert done.vifs == (MADE, ordinary)
    assert done.pairs == ((MADE, PCIS[0]), (ordinary, PCIS[1]))


def test_what_is_on_record_stays_as_it_was_made():
    recorded = dataclasses.replace(MADE, addresses=('10.0.0.77/24',))
    record = dataclasses.replace(RECORD, vif=recorded)
    done = complete(request_of(PROMISE), record, lone=False)
    assert done.vifs == (recorded,)
    other = dataclasses.replace(record, pci=PCIS[1])
    assert complete(request_of(PROMISE), other).vifs == (MADE,)


def test_a_port_of_which_no_interface_can_be_made_is_refused():
    ports = {PCIS[0]: dataclasses.replace(PORT, addresses=('garbage',))}
    with pytest.raises(exceptions.InvalidInput, match="address 'garbage'"):
        complete(request_of(PROMISE, ports=ports))


def test_a_vf_that_has_its_pf_here_is_no_port():
    with pytest.raises(exceptions.DeviceMissing, match='no port of its own'):
        complete(request_of(PROMISE), lone=False)


def test_addresses_that_nobody_tells_are_an_error_that_names_them():
    ports = {PCIS[0]: dataclasses.replace(PORT, unknown=('ipv4_dhcp', 'x'))}
    request = request_of(PROMISE, ports=ports)
    with pytest.raises(
        exceptions.NotAllocated, match=r'port-1 .*\(ipv4_dhcp, x\); .*net-id'
    ):
        complete(request)
    answer = dataclasses.replace(MADE, addresses=('10.0.0.8/24',))
    asked = []

    def ask(*question):
        asked.append(question)
        return answer

    assert complete(request, ask=ask).vifs == (answer,)
    assert asked == [(POD, PROMISE, 'port-1')]


@pytest.mark.parametrize(
    ('field', 'what'), [('mac', 'MAC'), ('provider_network', 'network')]
)
def test_an_answer_about_another_port_is_refused(field, what):
    answer = dataclasses.replace(MADE, **{field: 'another'})
    with pytest.raises(
        exceptions.NotAllocated, match=f'is port port-1 with {what} .*says'
    ):
        complete(request_of(PROMISE), ask=lambda *question: answer)


def test_only_vfs_that_are_not_on_record_are_looked_for():
    looked = []

    def find_mac(pci):
        looked.append(pci)
        return PORT.mac

    def identify(*records):
        step = IdentifyPorts(Ledger(*records), lambda: [PORT], find_mac)
        others = model.Device('intel.com/other', '0000:00:07.0')
        request = request_of(PROMISE, ports={}, devices=(*DEVICES, others))
        return step.run(request).ports

    recorded = dataclasses.replace(RECORD, vif=MADE)
    assert identify(recorded) == {PCIS[0]: PORT, PCIS[1]: PORT}
    assert looked == [PCIS[1]]
    assert identify() == {PCIS[0]: PORT, PCIS[1]: PORT}
    assert looked[1:] == [*PCIS]


def test_who_has_all_on_record_reads_no_metadata():
    step = IdentifyPorts(Ledger(RECORD), None, None)
    request = request_of(PROMISE, ports={}, devices=DEVICES[:1])
    assert step.run(request).ports == {PCIS[0]: PORT}
    ordinary = request_of(VIF)
    assert step.run(ordinary) is ordinary


def test_a_vf_without_a_mac_is_an_error_that_says_where_to_tell_it():
    step = IdentifyPorts(Ledger(), lambda: [PORT], lambda pci: '')
    with pytest.raises(
        exceptions.NotAllocated, match=rf'add {PCIS[0]}=MAC to .*guest_macs'
    ):
        step.run(request_of(PROMISE))


def test_a_mac_of_two_ports_tells_nothing():
    twin = dataclasses.replace(PORT, id='port-2', network='other-id')
    assert find_port(PCIS[0], PORT.mac, [PORT]) == PORT
    with pytest.raises(
        exceptions.NotAllocated,
        match=r'ports port-1 \(net-id\) and port-2 \(other-id\): nothing',
    ):
        find_port(PCIS[0], PORT.mac, [PORT, twin])
    with pytest.raises(exceptions.NotAllocated, match='which no port in'):
        find_port(PCIS[0], '02:00:00:00:00:01', [PORT, twin])


def test_a_host_that_cannot_ask_says_so():
    with pytest.raises(exceptions.InvalidInput, match='port-1 of pod') as told:
        ask_nobody(POD, PROMISE, 'port-1')
    assert told.value.field == 'ask_port'
