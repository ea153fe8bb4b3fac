# SPDX-License-Identifier: Apache-2.0
"""What the kubelet allocated, whatever its version."""

import itertools
import tempfile

import pytest
from values import kubelet_conf

from kuryr_sriov import exceptions, model
from kuryr_sriov.allocations import podresources
from kuryr_sriov.allocations.podresources import GET, LIST, LIST_V1ALPHA1
from kuryr_sriov.testing.simulation.kubelet import Kubelet

NET22, NET23 = 'intel.com/physnet22', 'intel.com/physnet23'
POD = model.Pod('default', 'web', 'uid-1')
VERSIONS = {
    '1.34': ({}, [GET]),
    '1.27, Get off': ({'get': 'off'}, [GET, LIST]),
    '1.23': ({'get': 'no'}, [GET, LIST]),
    '1.13': ({'v1': False}, [GET, LIST, LIST_V1ALPHA1]),
}


@pytest.fixture
def kubelet():
    # Not tmp_path: the path of a unix socket is short.
    with tempfile.TemporaryDirectory() as root, Kubelet(root) as kubelet:
        kubelet.plug(NET22, [f'0000:02:10.{n}' for n in (0, 2, 4, 6)])
        kubelet.plug(NET23, [f'0000:02:10.{n}' for n in (1, 3, 5, 7)])
        yield kubelet


@pytest.fixture
def client(kubelet):
    return podresources.PodResources(kubelet_conf(kubelet.root))


def configure(kubelet, options):
    for name, value in options.items():
        setattr(kubelet, name, value)


@pytest.mark.parametrize(
    ('options', 'calls'), VERSIONS.values(), ids=VERSIONS.keys()
)
def test_asks_the_best_way_and_remembers_it(kubelet, client, options, calls):
    configure(kubelet, options)
    devices = kubelet.allocate('default', 'web', 'uid-1', {NET22: 2})
    assert client.list_devices(POD) == devices
    assert kubelet.calls == calls
    kubelet.calls.clear()
    assert client.list_devices(POD) == devices
    assert kubelet.calls == calls[-1:]


@pytest.mark.parametrize(
    ('before', 'after'), list(itertools.permutations(VERSIONS, 2))
)
def test_asks_afresh_after_the_kubelet_was_replaced(
    kubelet, client, before, after
):
    kubelet.allocate('default', 'web', 'uid-1', {NET22: 1})
    configure(kubelet, VERSIONS[before][0])
    client.list_devices(POD)
    kubelet.stop()
    configure(kubelet, {'v1': True, 'get': 'yes'} | VERSIONS[after][0])
    kubelet.calls.clear()
    kubelet.start()
    client.list_devices(POD)
    assert kubelet.calls == VERSIONS[after][1]


@pytest.mark.parametrize('version', VERSIONS)
def test_a_pod_of_that_name_in_another_namespace_is_another_pod(
    kubelet, client, version
):
    configure(kubelet, VERSIONS[version][0])
    kubelet.allocate('other', 'web', 'uid-2', {NET22: 1})
    (device,) = kubelet.allocate('default', 'web', 'uid-1', {NET22: 1})
    assert client.list_devices(POD) == (device,)


@pytest.mark.parametrize('version', VERSIONS)
def test_an_unknown_pod_is_no_pod_without_devices(kubelet, client, version):
    configure(kubelet, VERSIONS[version][0])
    with pytest.raises(
        exceptions.KubeletUnavailable,
        match=r'kubelet\.sock does not know pod default/web: .* another node',
    ):
        client.list_devices(POD)
    kubelet.allocate('default', 'web', 'uid-1', {})
    assert client.list_devices(POD) == ()


def test_an_absent_pod_does_not_mean_that_get_is_off(kubelet, client):
    with pytest.raises(exceptions.KubeletUnavailable):
        client.list_devices(POD)
    kubelet.allocate('default', 'web', 'uid-1', {})
    client.list_devices(POD)
    assert kubelet.calls == [GET, LIST, GET]


@pytest.mark.parametrize('version', VERSIONS)
def test_each_device_once_and_in_order(kubelet, client, version):
    configure(kubelet, VERSIONS[version][0])
    kubelet.plug(NET22, ['0000:02:10.0', '0000:02:10.2'], numa_nodes=[0, 1])
    kubelet.allocate('default', 'web', 'uid-1', {NET23: 2, NET22: 1}, 'b')
    kubelet.allocate('default', 'web', 'uid-1', {NET22: 1}, 'a')
    for _ in range(5):
        assert client.list_devices(POD) == (
            model.Device(NET22, '0000:02:10.0'),
            model.Device(NET22, '0000:02:10.2'),
            model.Device(NET23, '0000:02:10.1'),
            model.Device(NET23, '0000:02:10.3'),
        )


def test_devices_that_are_not_on_pci_are_told_too(kubelet, client):
    kubelet.plug('nvidia.com/gpu', ['GPU-1'])
    devices = kubelet.allocate('default', 'web', 'u', {'nvidia.com/gpu': 1})
    assert client.list_devices(POD) == devices


def test_claims_and_whatever_else_is_listed_are_skipped():
    messages = podresources.message_classes()
    container = messages['ContainerResources'](name='main')
    claim = b'\x2a\x07\x12\x05claim'
    cpus = b'\x1a\x02\x00\x01'
    blob = container.SerializeToString() + claim + cpus
    parsed = messages['ContainerResources'].FromString(blob)
    assert parsed.name == 'main'
    assert not parsed.devices


def test_an_ended_pod_of_that_name_that_kept_nothing(kubelet, client):
    configure(kubelet, {'get': 'no', 'list_ended': True})
    kubelet.allocate('default', 'web', 'uid-0', {})
    kubelet.end('uid-0')
    devices = kubelet.allocate('default', 'web', 'uid-1', {NET22: 1})
    assert client.list_devices(POD) == devices


def test_an_ended_pod_of_that_name_with_other_devices(kubelet, client):
    configure(kubelet, {'get': 'no', 'list_ended': True})
    kubelet.allocate('default', 'web', 'uid-0', {NET22: 1})
    devices = kubelet.allocate('default', 'web', 'uid-1', {NET22: 1})
    kubelet.end('uid-0')
    with pytest.raises(
        exceptions.KubeletUnavailable,
        match=r'lists 2 pods default/web .* delete those that have ended',
    ):
        client.list_devices(POD)
    kubelet.list_ended = False
    assert client.list_devices(POD) == devices


def test_what_is_allocatable(kubelet, client):
    kubelet.plug(NET22, ['0000:02:10.2', '0000:02:10.0'], numa_nodes=[0, 1])
    kubelet.allocate('default', 'web', 'uid-1', {NET22: 1})
    assert client.list_offered() == {
        NET22: ('0000:02:10.0', '0000:02:10.2'),
        NET23: tuple(f'0000:02:10.{n}' for n in (1, 3, 5, 7)),
    }


@pytest.mark.parametrize(
    'options', [{'allocatable': 'no'}, {'allocatable': 'off'}, {'v1': False}]
)
def test_an_older_kubelet_does_not_say_what_is_allocatable(
    kubelet, client, options
):
    configure(kubelet, options)
    with pytest.raises(
        exceptions.KubeletUnavailable, match=r'1\.23.*status\.allocatable'
    ):
        client.list_offered()


def test_neither_version_is_served(kubelet, client):
    configure(kubelet, {'v1': False, 'v1alpha1': False})
    with pytest.raises(
        exceptions.KubeletUnavailable, match='neither v1 nor v1alpha1'
    ):
        client.list_devices(POD)
