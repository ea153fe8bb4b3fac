# SPDX-License-Identifier: Apache-2.0
"""What is kept of a pod, and what it is known to ask for."""

import pytest

from kuryr_sriov_daemon.controller.pods import NETWORKS, keep_pod

DEVICES = {'intel.com/physnet22': '1', 'cpu': '2', 'memory': '1Gi'}


def pod(**spec):
    return {
        'metadata': {
            'namespace': 'ns',
            'name': 'web',
            'uid': 'uid-web',
            'annotations': {NETWORKS: 'sriov-net1', 'theirs': 'x' * 1000},
            'managedFields': [{'manager': 'kubectl'}],
        },
        'spec': {
            'nodeName': 'node-1',
            'containers': [
                {'name': 'a', 'image': 'i', 'resources': {'limits': DEVICES}},
                {'name': 'b', 'image': 'i'},
            ],
            **spec,
        },
        'status': {'phase': 'Pending'},
    }


def test_what_the_library_needs_is_kept():
    kept = keep_pod(pod())
    assert kept.body == {
        'metadata': {
            'namespace': 'ns',
            'name': 'web',
            'uid': 'uid-web',
            'annotations': {NETWORKS: 'sriov-net1'},
        },
        'spec': {
            'nodeName': 'node-1',
            'containers': [
                {
                    'resources': {
                        'requests': {},
                        'limits': {'intel.com/physnet22': '1'},
                    }
                }
            ],
            'initContainers': [],
        },
        'status': {'phase': 'Pending'},
    }
    assert kept.pod.node == 'node-1'
    assert not kept.ended
    assert not kept.deleting


def test_a_sidecar_is_known_as_one():
    container = {'restartPolicy': 'Always', 'resources': {'requests': DEVICES}}
    kept = keep_pod(pod(initContainers=[container]))
    (sidecar,) = kept.body['spec']['initContainers']
    assert sidecar['restartPolicy'] == 'Always'


def test_an_init_container_with_devices_keeps_its_name():
    first = {'name': 'first', 'resources': {'limits': DEVICES}, 'image': 'i'}
    kept = keep_pod(pod(initContainers=[first, {'name': 'second'}]))
    (found,) = kept.body['spec']['initContainers']
    assert found.keys() == {'name', 'resources'}
    assert found['name'] == 'first'


@pytest.mark.parametrize(
    'spec', [{'nodeName': ''}, {'hostNetwork': True}], ids=str
)
def test_nothing_is_kept_of_a_pod_that_cannot_have_ports(spec):
    assert keep_pod(pod(**spec)) is None


@pytest.mark.parametrize('annotations', [None, {}, {NETWORKS: ' '}])
def test_nothing_is_kept_of_a_pod_without_networks(annotations):
    body = pod()
    body['metadata']['annotations'] = annotations
    assert keep_pod(body) is None


@pytest.mark.parametrize('phase', ['Succeeded', 'Failed'])
def test_a_pod_that_ended_is_known_as_one(phase):
    assert keep_pod(pod() | {'status': {'phase': phase}}).ended


def test_a_pod_that_is_deleted_is_known_as_one():
    body = pod()
    body['metadata']['deletionTimestamp'] = '2026-01-01T00:00:00Z'
    assert keep_pod(body).deleting


def test_only_what_it_asks_for_changes_its_digest():
    digest = keep_pod(pod()).digest
    other = pod(terminationGracePeriodSeconds=5)
    other['metadata']['annotations']['theirs'] = 'y'
    other['status']['phase'] = 'Running'
    assert keep_pod(other).digest == digest
    other['metadata']['annotations'][NETWORKS] = 'sriov-net2'
    assert keep_pod(other).digest != digest


def test_a_pod_without_a_status_or_containers():
    body = pod(containers=None)
    del body['status']
    assert keep_pod(body).phase == ''
