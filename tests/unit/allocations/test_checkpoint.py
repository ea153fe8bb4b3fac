# SPDX-License-Identifier: Apache-2.0
"""What the kubelet allocated, by the file that it keeps for itself."""

import json
import os

import pytest
from values import kubelet_conf

from kuryr_sriov import exceptions, model
from kuryr_sriov.allocations.checkpoint import Checkpoint

NET22 = 'intel.com/physnet22'
POD = model.Pod('default', 'web', 'uid-1')


@pytest.fixture
def checkpoint(tmp_path):
    os.mkdir(tmp_path / 'device-plugins')
    return Checkpoint(kubelet_conf(tmp_path))


def entry(uid, ids, resource=NET22, container='main'):
    return {
        'PodUID': uid,
        'ContainerName': container,
        'ResourceName': resource,
        'DeviceIDs': ids,
        'AllocResp': 'Cg==',
    }


def write(checkpoint, entries):
    data = {'PodDeviceEntries': entries, 'RegisteredDevices': {}}
    with open(checkpoint.path, 'w') as file:
        json.dump({'Data': data, 'Checksum': 229855270}, file)


@pytest.mark.parametrize(
    'ids',
    [
        {'0': ['0000:02:10.2'], '1': ['0000:02:10.0', '0000:02:10.2']},
        {'-1': ['0000:02:10.2', '0000:02:10.0'], '0': None},
        ['0000:02:10.2', '0000:02:10.0'],
    ],
    ids=['by NUMA node', 'no NUMA node', 'before 1.20'],
)
def test_each_device_once_and_in_order(checkpoint, ids):
    write(checkpoint, [entry('uid-1', ids)])
    assert checkpoint.list_devices(POD) == (
        model.Device(NET22, '0000:02:10.0'),
        model.Device(NET22, '0000:02:10.2'),
    )


def test_all_containers_and_resources_of_one_pod(checkpoint):
    write(
        checkpoint,
        [
            entry('uid-1', {'0': ['0000:02:10.4']}, container='other'),
            entry('uid-2', {'0': ['0000:02:10.2']}),
            entry('uid-1', {'-1': ['GPU-1']}, 'nvidia.com/gpu'),
            entry('uid-1', {'0': ['0000:02:10.0']}),
        ],
    )
    assert checkpoint.list_devices(POD) == (
        model.Device(NET22, '0000:02:10.0'),
        model.Device(NET22, '0000:02:10.4'),
        model.Device('nvidia.com/gpu', 'GPU-1'),
    )


@pytest.mark.parametrize(
    'entries', [None, [], [entry('uid-1', None)], [entry('uid-2', ['x'])]]
)
def test_a_pod_without_devices(checkpoint, entries):
    write(checkpoint, entries)
    assert checkpoint.list_devices(POD) == ()


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'{"Data": {"PodDevice',
        b'\xff',
        b'[]',
        b'"text"',
        b'{"Data": null}',
        b'{"Data": {"PodDeviceEntries": [7]}}',
        b'{"Data": {"PodDeviceEntries": [{"PodUID": "uid-1"}]}}',
        json.dumps({'Data': {'PodDeviceEntries': [entry('uid-1', [7])]}}),
        json.dumps({'Data': {'PodDeviceEntries': [entry('uid-1', 'text')]}}),
    ],
)
def test_a_file_that_is_no_checkpoint(checkpoint, content):
    with open(checkpoint.path, 'wb') as file:
        file.write(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(
        exceptions.KubeletUnavailable,
        match=r'kubelet_internal_checkpoint is no checkpoint .* '
        'enable_pod_resource_service = True',
    ):
        checkpoint.list_devices(POD)


def test_no_file(tmp_path):
    with pytest.raises(
        exceptions.KubeletUnavailable,
        match=r'Cannot read .*: No such file .* kubelet_root_dir must be',
    ):
        Checkpoint(kubelet_conf(tmp_path)).list_devices(POD)


def test_what_only_an_init_container_had_is_left_out(checkpoint):
    """It has ended, and the kubelet may give the device to another pod."""
    pod = model.Pod('default', 'web', 'uid-1', containers=('main', 'sidecar'))
    write(
        checkpoint,
        [
            entry('uid-1', {'0': ['0000:02:10.0']}, container='init'),
            entry('uid-1', {'0': ['0000:02:10.2']}, container='init'),
            entry('uid-1', {'0': ['0000:02:10.2']}, container='main'),
            entry('uid-1', {'0': ['0000:02:10.4']}, container='sidecar'),
        ],
    )
    assert checkpoint.list_devices(pod) == (
        model.Device(NET22, '0000:02:10.2'),
        model.Device(NET22, '0000:02:10.4'),
    )
    assert len(checkpoint.list_devices(POD)) == 3
