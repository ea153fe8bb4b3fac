# SPDX-License-Identifier: Apache-2.0
"""A node's daemon speaks for its own node, and of what is a node's."""

import pytest
from kubelab.cluster import PLACES, PORTS, ApiError, Cluster
from servers import wait_for

from kuryr_sriov import exceptions, model
from kuryr_sriov.clients.kubernetes.objects import Kubernetes
from kuryr_sriov.clients.kubernetes.portobject import (
    Condition,
    ReportedAttachment,
)

LOCATION = model.Location('node1', '0000:02:10.0', '8086:10ca', 'physnet22')
ATTACHED = Condition('True', 'Attached', 'all', '2026-01-01T00:00:00Z')
APPLY = 'application/apply-patch+yaml'
MERGE = 'application/merge-patch+json'


@pytest.fixture
def port(
    controller: Kubernetes,
    node: Kubernetes,
    pod: model.Pod,
    vif: model.Vif,
) -> str:
    """Path of the port object of the pod on node1, once policies apply."""
    controller.publish(pod, [vif])
    report = [ReportedAttachment('net1', vif.id, LOCATION)]
    node.report(pod, report, ATTACHED)
    return f'{PORTS}/{pod.uid}'


@pytest.fixture(autouse=True)
def in_force(cluster: Cluster, controller: Kubernetes, pod, vif) -> None:
    """The API server reads a new policy within seconds, not at once."""
    controller.publish(pod, [vif])
    path = f'{PORTS}/{pod.uid}/status'

    def refused() -> bool:
        try:
            cluster.call('PATCH', path, {}, 'node', Content_Type=MERGE)
        except ApiError as error:
            return 'names no node' in str(error)
        return False

    wait_for(refused, 30, 'the policy')


def test_a_node_cannot_report_for_another(
    cluster: Cluster, connect, port: str, pod: model.Pod
) -> None:
    other = connect(cluster.node_token('node2'))
    with pytest.raises(exceptions.PermanentError) as caught:
        other.report(pod, [], ATTACHED)
    assert 'node "node2" cannot report for node "node1"' in str(caught.value)
    status = cluster.call('GET', port)['status']
    assert status['attachments'][0]['pciAddress'] == '0000:02:10.0'


@pytest.mark.parametrize(
    ('status', 'message'),
    [
        (
            {'activated': [{'vifId': 'id', 'pciAddress': '0000:02:10.0'}]},
            "status.activated is the controller's",
        ),
        (
            {
                'conditions': [
                    {
                        'type': 'Active',
                        'status': 'True',
                        'reason': 'Forged',
                        'message': '',
                        'lastTransitionTime': '2026-01-01T00:00:00Z',
                    }
                ]
            },
            "only Attached is the node's",
        ),
    ],
    ids=['activated', 'conditions'],
)
def test_a_node_cannot_speak_for_the_controller(
    cluster: Cluster, port: str, status: dict, message: str
) -> None:
    token = cluster.node_token('node1')
    with pytest.raises(ApiError, match=message):
        cluster.call(
            'PATCH',
            f'{port}/status',
            {'status': status},
            token,
            Content_Type=MERGE,
        )


def test_a_node_writes_network_status_to_its_own_pods(
    cluster: Cluster, connect, node: Kubernetes, pod: model.Pod
) -> None:
    status = [{'name': 'default/sriov-net1', 'interface': 'net1'}]
    node.patch_network_status(pod, status)
    with pytest.raises(exceptions.PermanentError, match='own node only'):
        connect(cluster.node_token('node2')).patch_network_status(pod, [])


@pytest.mark.parametrize(
    ('patch', 'message'),
    [
        ({'status': {'phase': 'Failed'}}, 'does not write the status'),
        ({'status': {'podIP': '10.9.9.9'}}, 'does not write the status'),
        (
            {'metadata': {'annotations': {'theirs': 'changed'}}},
            'writes no annotation but',
        ),
        (
            {'metadata': {'annotations': {'theirs': None}}},
            'writes no annotation but',
        ),
        (
            {'metadata': {'annotations': {'new': 'one'}}},
            'writes no annotation but',
        ),
    ],
)
def test_a_node_writes_nothing_else_of_a_pod(
    cluster: Cluster, pod: model.Pod, patch: dict, message: str
) -> None:
    token = cluster.node_token('node1')
    path = f'{PLACES["Pod"]}/web/status'
    with pytest.raises(ApiError, match=message):
        cluster.call('PATCH', path, patch, token, Content_Type=MERGE)


def test_a_token_without_a_node_may_write_nothing(
    cluster: Cluster, connect, pod: model.Pod, port: str
) -> None:
    """One that was not asked for by a kubelet, or by an old one."""
    with pytest.raises(exceptions.PermanentError, match='names no node'):
        connect('node').report(pod, [], ATTACHED)
    with pytest.raises(exceptions.PermanentError, match='own node only'):
        connect('node').patch_network_status(pod, [])
