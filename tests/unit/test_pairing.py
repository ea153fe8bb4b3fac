# SPDX-License-Identifier: Apache-2.0
"""Which VIF gets which VF."""

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuryr_sriov import exceptions, model, pairing

NET22, NET23 = 'intel.com/physnet22', 'intel.com/physnet23'
FOREIGN = ('mlx5_core.sf.4', 'GPU-1', '../0000:02:10.0', '0000:02:10.8', '')


def vif(ifname, resource=NET22):
    return model.Vif(
        id=f'id-{ifname}',
        ifname=ifname,
        network='default/net',
        resource=resource,
        physnet='physnet',
        mac='02:00:00:00:00:01',
    )


def vf(number, resource=NET22):
    return model.Device(resource, f'0000:02:10.{number}')


def pcis(pairs):
    return {vif.ifname: pci for vif, pci in pairs}


def test_each_vif_in_turn_gets_the_first_vf_of_its_resource():
    vifs = [vif('net1', NET23), vif('net2'), vif('net3', NET23)]
    devices = [vf(3, NET23), vf(4), vf(0), vf(1, NET23)]
    assert pairing.pair(vifs, devices) == (
        (vifs[0], '0000:02:10.1'),
        (vifs[1], '0000:02:10.0'),
        (vifs[2], '0000:02:10.3'),
    )


def test_no_vifs_need_no_devices():
    assert pairing.pair([], []) == ()
    assert pairing.pair([], [vf(0)]) == ()


def test_a_vif_gets_a_vf_of_the_network_that_it_names():
    on_a = dataclasses.replace(vif('net1'), provider_network='a')
    on_b = dataclasses.replace(vif('net2'), provider_network='b')
    networks = {'0000:02:10.0': 'b', '0000:02:10.2': 'a'}
    for vifs in ([on_a, on_b], [on_b, on_a]):
        pairs = pairing.pair(vifs, [vf(0), vf(2)], networks=networks)
        assert pcis(pairs) == {'net1': '0000:02:10.2', 'net2': '0000:02:10.0'}
    record = {'net1': '0000:02:10.0'}  # of another network: it does not stay
    pairs = pairing.pair(
        [on_a], [vf(0), vf(2)], taken=record, networks=networks
    )
    assert pcis(pairs) == {'net1': '0000:02:10.2'}


def test_a_network_that_no_vf_is_on_is_named_with_those_there_are():
    on_c = dataclasses.replace(vif('net1'), provider_network='c')
    with pytest.raises(
        exceptions.NotAllocated,
        match=r'network c, .* 0000:02:10.0 is on network b; 0000:02:10.2 is '
        'on network unknown; give the VFs of each network a resource',
    ):
        pairing.pair(
            [on_c],
            [vf(0), vf(2), vf(1, NET23)],
            networks={'0000:02:10.0': 'b'},
        )
    with pytest.raises(exceptions.NotAllocated, match='there is none'):
        pairing.pair([on_c], [])


def test_what_is_on_record_stays_so():
    pairs = pairing.pair(
        [vif('net1'), vif('net2')],
        [vf(0), vf(2), vf(4)],
        taken={'net2': '0000:02:10.0'},
    )
    assert pcis(pairs) == {'net1': '0000:02:10.2', 'net2': '0000:02:10.0'}


@pytest.mark.parametrize(
    'stale', ['0000:02:10.6', '0000:02:10.1', 'mlx5_core.sf.4']
)
def test_a_record_of_what_is_not_allocated_any_more_is_void(stale):
    devices = [vf(0), vf(1, NET23), model.Device(NET22, 'mlx5_core.sf.4')]
    pairs = pairing.pair([vif('net1')], devices, taken={'net1': stale})
    assert pcis(pairs) == {'net1': '0000:02:10.0'}


def test_two_records_of_one_vf_give_it_away_once():
    taken = {'net1': '0000:02:10.0', 'net2': '0000:02:10.0'}
    pairs = pairing.pair([vif('net1'), vif('net2')], [vf(0), vf(2)], taken)
    assert pcis(pairs) == {'net1': '0000:02:10.0', 'net2': '0000:02:10.2'}


@pytest.mark.parametrize(
    'others',
    [{'busy': ['0000:02:10.0']}, {'taken': {'net1': '0000:02:10.0'}}],
    ids=['busy', 'on record'],
)
def test_other_interfaces_keep_theirs(others):
    pairs = pairing.pair([vif('net2')], [vf(0), vf(2)], **others)
    assert pcis(pairs) == {'net2': '0000:02:10.2'}
    with pytest.raises(
        exceptions.NotAllocated,
        match=r'net2 need 1 of intel.com/physnet22, but the kubelet '
        r'allocated 1 to the pod, and other interfaces .* 0000:02:10\.0;',
    ):
        pairing.pair([vif('net2')], [vf(0)], **others)


def test_a_vf_in_two_resources_is_given_away_once():
    with pytest.raises(exceptions.NotAllocated):
        pairing.pair([vif('net1'), vif('net2', NET23)], [vf(0), vf(0, NET23)])


def test_too_few_is_an_error_that_names_both_numbers():
    with pytest.raises(
        exceptions.NotAllocated,
        match=r'net1, net3 need 2 of intel.com/physnet22, but the kubelet '
        "allocated 1 to the pod; the pod's containers must request one",
    ):
        pairing.pair(
            [vif('net1'), vif('net2', NET23), vif('net3')],
            [vf(0), vf(1, NET23), vf(3, NET23)],
        )


@pytest.mark.parametrize('device_id', FOREIGN)
def test_a_needed_device_that_is_not_on_pci_is_an_error(device_id):
    with pytest.raises(
        exceptions.NotAllocated,
        match=r'is no PCI address: the device plugin must offer nothing but',
    ) as caught:
        pairing.pair([vif('net1')], [model.Device(NET22, device_id)])
    assert device_id in str(caught.value)


def test_other_devices_that_are_not_on_pci_are_left_alone():
    devices = [model.Device('nvidia.com/gpu', 'GPU-1'), vf(0)]
    pairs = pairing.pair([vif('net1')], devices)
    assert pcis(pairs) == {'net1': '0000:02:10.0'}


RESOURCES = st.sampled_from([NET22, NET23, 'mellanox.com/rdma'])
ADDRESSES = st.builds('0000:{:02x}:1{}.{}'.format, *[st.integers(0, 1)] * 3)
NAMES = [f'net{n}' for n in range(1, 5)]


@st.composite
def situations(draw):
    """VIFs, disjoint devices, records and busy devices; enough or not."""
    resources = draw(st.lists(RESOURCES, max_size=4))
    vifs = [vif(*each) for each in zip(NAMES, resources, strict=False)]
    offered = draw(
        st.dictionaries(ADDRESSES | st.sampled_from(FOREIGN), RESOURCES)
    )
    devices = [model.Device(offered[pci], pci) for pci in offered]
    taken = draw(st.dictionaries(st.sampled_from(NAMES), ADDRESSES))
    return vifs, devices, taken, draw(st.sets(ADDRESSES, max_size=2))


def outcome(*situation):
    try:
        return pairing.pair(*situation)
    except exceptions.NotAllocated as error:
        return str(error)


@given(situations(), st.randoms(use_true_random=False))
def test_the_order_of_devices_does_not_matter(situation, random):
    vifs, devices, taken, busy = situation
    shuffled = random.sample(devices, len(devices)) * 2
    expected = outcome(vifs, devices, taken, busy)
    assert outcome(vifs, shuffled, taken, busy) == expected


@given(situations())
def test_a_vif_gets_a_vf_of_its_resource_that_nobody_else_has(situation):
    vifs, devices, taken, busy = situation
    pairs = outcome(*situation)
    names = {vif.ifname for vif in vifs}
    used = busy | {taken[name] for name in taken if name not in names}
    usable = {
        device
        for device in devices
        if device.pci not in used and device.pci not in FOREIGN
    }
    wanted = [vif.resource for vif in vifs]
    offered = [device.resource for device in usable]
    if any(wanted.count(name) > offered.count(name) for name in wanted):
        assert 'need' in pairs
        return
    assert [vif for vif, _ in pairs] == vifs
    assert len({pci for _, pci in pairs}) == len(vifs)
    given_away = {model.Device(vif.resource, pci) for vif, pci in pairs}
    assert given_away <= usable


@given(situations())
def test_a_second_run_with_the_first_on_record_changes_nothing(situation):
    vifs, devices, _, busy = situation
    pairs = outcome(vifs, devices, {}, busy)
    if not isinstance(pairs, str):
        again = pairing.pair(vifs[::-1], devices, pcis(pairs), busy)
        assert pcis(again) == pcis(pairs)


@given(situations())
def test_one_call_for_each_interface_is_as_good_as_one_for_all(situation):
    vifs, devices, _, busy = situation
    pairs = outcome(vifs, devices, {}, busy)
    if not isinstance(pairs, str):
        taken = {}
        for each in vifs:
            taken |= pcis(pairing.pair([each], devices, taken, busy))
        assert taken == pcis(pairs)


def test_the_kubelets_order_does_not_matter():
    """It is another at each answer, and a repeated ADD must not swap VFs."""
    devices = [model.Device(NET22, f'0000:02:10.{n}') for n in range(4)]
    vifs = [vif('net1', NET22), vif('net2', NET22)]
    answers = {
        pairing.pair(vifs, order) for order in itertools.permutations(devices)
    }
    assert len(answers) == 1
    ((_, first), (_, second)) = answers.pop()
    assert (first, second) == ('0000:02:10.0', '0000:02:10.1')
