# SPDX-License-Identifier: Apache-2.0
"""The kubelet for tests allocates as the kubelet does."""

import concurrent.futures
import json
import os
import tempfile
import threading

import grpc
import pytest
from values import kubelet_conf

from kuryr_sriov import exceptions, model
from kuryr_sriov.allocations.checkpoint import Checkpoint
from kuryr_sriov.allocations.podresources import LIST, PodResources
from kuryr_sriov.testing.simulation.kubelet import Kubelet

NET22 = 'intel.com/physnet22'
POD = model.Pod('default', 'web', 'uid-1')
FIRST, SECOND, THIRD = (
    model.Device(NET22, f'0000:02:10.{n}') for n in (0, 2, 4)
)


@pytest.fixture
def kubelet():
    # Not tmp_path: the path of a unix socket is short.
    with tempfile.TemporaryDirectory() as root, Kubelet(root) as kubelet:
        kubelet.plug(NET22, [device.pci for device in (FIRST, SECOND, THIRD)])
        yield kubelet


def ask_service(kubelet):
    return PodResources(kubelet_conf(kubelet.root)).list_devices(POD)


def read_file(kubelet):
    return Checkpoint(kubelet_conf(kubelet.root)).list_devices(POD)


def test_devices_are_exclusive_until_they_are_freed(kubelet):
    assert kubelet.allocate('default', 'a', 'a', {NET22: 2}) == (FIRST, SECOND)
    assert kubelet.allocate('default', 'b', 'b', {NET22: 1}) == (THIRD,)
    with pytest.raises(
        exceptions.NotAllocated,
        match=r'Pod default/c requests 1 intel.com/physnet22, but 0 are free',
    ):
        kubelet.allocate('default', 'c', 'c', {NET22: 1})
    kubelet.free('b')
    kubelet.free('b')
    assert kubelet.allocate('default', 'c', 'c', {NET22: 1}) == (THIRD,)


def test_a_refused_pod_gets_nothing_and_is_not_listed(kubelet):
    with pytest.raises(exceptions.NotAllocated, match='unknown'):
        kubelet.allocate('default', 'web', 'a', {NET22: 1, 'unknown': 1})
    with pytest.raises(exceptions.KubeletUnavailable):
        PodResources(kubelet_conf(kubelet.root)).list_devices(POD)
    kubelet.allocate('default', 'b', 'b', {NET22: 3})


def test_an_ended_pod_gives_its_devices_back(kubelet):
    kubelet.allocate('default', 'a', 'a', {NET22: 3})
    kubelet.end('a')
    kubelet.allocate('default', 'web', 'uid-1', {NET22: 3})
    assert (
        Checkpoint(kubelet_conf(kubelet.root)).list_devices(
            model.Pod('', '', 'a')
        )
        == ()
    )


def test_containers_use_again_what_init_containers_had(kubelet):
    kubelet.allocate('default', 'web', 'uid-1', {NET22: 2}, 'i', init=True)
    assert PodResources(kubelet_conf(kubelet.root)).list_devices(POD) == ()
    assert Checkpoint(kubelet_conf(kubelet.root)).list_devices(POD) == (
        FIRST,
        SECOND,
    )
    for container, device in ('a', FIRST), ('b', SECOND), ('c', THIRD):
        (given,) = kubelet.allocate(
            'default', 'web', 'uid-1', {NET22: 1}, container
        )
        assert given == device
    with pytest.raises(exceptions.NotAllocated):
        kubelet.allocate('default', 'web', 'uid-1', {NET22: 1}, 'd')


@pytest.mark.parametrize('numa_nodes', [(), (0,), (0, 1)])
def test_service_and_checkpoint_agree(kubelet, numa_nodes):
    kubelet.plug(NET22, [FIRST.pci, SECOND.pci], numa_nodes)
    devices = kubelet.allocate('default', 'web', 'uid-1', {NET22: 2})
    assert ask_service(kubelet) == devices
    assert read_file(kubelet) == devices
    with open(kubelet.checkpoint) as file:
        data = json.load(file)['Data']
    assert data['RegisteredDevices'] == {NET22: [FIRST.pci, SECOND.pci]}
    (entry,) = data['PodDeviceEntries']
    assert [*entry['DeviceIDs']] == [str(n) for n in numa_nodes or [-1]]


def test_a_device_outlives_its_plugin(kubelet):
    devices = kubelet.allocate('default', 'web', 'uid-1', {NET22: 1})
    kubelet.plug(NET22, [])
    assert ask_service(kubelet) == devices
    assert read_file(kubelet) == devices


def test_pods_outlive_a_restart_and_the_socket_does_not(kubelet):
    devices = kubelet.allocate('default', 'web', 'uid-1', {NET22: 1})
    before = os.stat(kubelet.socket)
    kubelet.stop()
    kubelet.stop()
    assert not os.path.exists(kubelet.socket)
    kubelet.start()
    after = os.stat(kubelet.socket)
    assert before.st_ctime_ns != after.st_ctime_ns
    assert ask_service(kubelet) == devices


def test_answers_are_in_random_order(kubelet):
    kubelet.allocate('default', 'web', 'uid-1', {NET22: 3})
    with grpc.insecure_channel(f'unix:{kubelet.socket}') as channel:
        ask = channel.unary_unary(LIST)
        orders = {ask(b'') for _ in range(20)}
    assert len(orders) > 1


def test_stopping_does_not_wait_for_slow_answers(kubelet):
    kubelet.delay = 3600
    with concurrent.futures.ThreadPoolExecutor() as threads:
        answer = threads.submit(
            PodResources(kubelet_conf(kubelet.root, 30)).list_devices, POD
        )
        while not kubelet.calls:
            threading.Event().wait(0.001)
        kubelet.stop()
        with pytest.raises(exceptions.KubeletUnavailable):
            answer.result(timeout=10)


def test_calls_are_on_record(kubelet):
    kubelet.get = 'no'
    kubelet.allocate('default', 'web', 'uid-1', {})
    client = PodResources(kubelet_conf(kubelet.root))
    client.list_devices(POD)
    client.list_devices(POD)
    assert kubelet.calls.count(LIST) == 2


def test_threads_share_it(kubelet):
    ids = [f'0000:03:{n // 8:02x}.{n % 8}' for n in range(64)]
    kubelet.plug(NET22, ids)

    def allocate(number):
        return kubelet.allocate('default', 'pod', str(number), {NET22: 4})

    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        given = list(threads.map(allocate, range(16)))
    assert sorted(d.pci for devices in given for d in devices) == ids
