# SPDX-License-Identifier: Apache-2.0
"""The annotation that tells others what a pod has got."""

import json

import pytest
from kubelab.cluster import PLACES, Cluster

from kuryr_sriov import exceptions, model
from kuryr_sriov.clients.kubernetes.objects import Kubernetes
from kuryr_sriov.npwg.status import NETWORK_STATUS

WEB = f'{PLACES["Pod"]}/web'
MERGE = 'application/merge-patch+json'
STATUS = [{'name': 'default/sriov-net1', 'interface': 'net1'}]


def test_nothing_else_of_the_pod_changes(
    node: Kubernetes, cluster: Cluster, pod: model.Pod
) -> None:
    """Neither others' annotations nor what the kubelet has written."""
    running = {'status': {'phase': 'Running', 'podIP': '10.1.2.3'}}
    cluster.call('PATCH', f'{WEB}/status', running, Content_Type=MERGE)
    before = cluster.call('GET', WEB)

    node.patch_network_status(pod, STATUS)

    after = cluster.call('GET', WEB)
    written = after['metadata']['annotations'].pop(NETWORK_STATUS)
    assert json.loads(written) == STATUS
    for unsteady in ('resourceVersion', 'managedFields'):
        del before['metadata'][unsteady], after['metadata'][unsteady]
    assert after == before
    assert after['metadata']['annotations'] == {'theirs': 'kept'}


def test_it_is_not_for_another_pod_of_that_name(
    node: Kubernetes, cluster: Cluster, pod: model.Pod, make_pod
) -> None:
    cluster.call('DELETE', f'{WEB}?gracePeriodSeconds=0')
    make_pod()

    with pytest.raises(exceptions.PermanentError, match='web is gone'):
        node.patch_network_status(pod, STATUS)

    after = cluster.call('GET', WEB)
    assert NETWORK_STATUS not in after['metadata'].get('annotations', {})


def test_what_another_has_written_meanwhile_is_not_overwritten(
    node: Kubernetes, cluster: Cluster, pod: model.Pod
) -> None:
    """As Multus does: whoever merges has to read again."""
    version = cluster.call('GET', WEB)['metadata']['resourceVersion']
    node.patch_network_status(pod, STATUS, version)
    with pytest.raises(exceptions.ResourceConflict):
        node.patch_network_status(pod, [], version)
    annotations = cluster.call('GET', WEB)['metadata']['annotations']
    assert json.loads(annotations[NETWORK_STATUS]) == STATUS


def test_a_pod_that_is_gone(
    node: Kubernetes, cluster: Cluster, pod: model.Pod
) -> None:
    cluster.call('DELETE', f'{WEB}?gracePeriodSeconds=0')
    with pytest.raises(exceptions.PermanentError, match='web is gone'):
        node.patch_network_status(pod, STATUS)
