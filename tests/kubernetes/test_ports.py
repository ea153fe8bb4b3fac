# SPDX-License-Identifier: Apache-2.0
"""VIFs on their way from the controller to the node."""

import dataclasses

import pytest
from kubelab.cluster import (
    OBJECTS,
    PLACES,
    PORTS,
    PORTS_CRD,
    ApiError,
    Cluster,
)
from servers import wait_for

from kuryr_sriov import exceptions, model
from kuryr_sriov.clients.kubernetes import Kubernetes

TABLE = 'application/json;as=Table;v=v1;g=meta.k8s.io'


def test_vifs_reach_the_node(
    controller: Kubernetes, node: Kubernetes, pod: model.Pod, vif: model.Vif
) -> None:
    controller.publish(pod, [vif])
    assert node.vifs_of(pod) == (vif,)


def test_published_again_is_in_place_of_what_was(
    controller: Kubernetes, node: Kubernetes, pod: model.Pod, vif: model.Vif
) -> None:
    """An apply that merged the lists would give a pod its old port, too."""
    other = dataclasses.replace(vif, id='other', mac='fa:16:3e:00:00:02')
    controller.publish(pod, [vif, other])
    controller.publish(pod, [other])
    assert node.vifs_of(pod) == (other,)
    controller.publish(pod, [])
    assert node.vifs_of(pod) == ()


def test_not_yet_published(node: Kubernetes, pod: model.Pod) -> None:
    with pytest.raises(exceptions.TransientError, match='are published'):
        node.vifs_of(pod)


def test_it_goes_with_its_pod(
    controller: Kubernetes, cluster: Cluster, pod: model.Pod, vif: model.Vif
) -> None:
    """By its owner, which the garbage collector of a cluster looks at."""
    controller.publish(pod, [vif])
    port = cluster.call('GET', f'{PORTS}/{pod.uid}')
    (owner,) = port['metadata']['ownerReferences']
    assert (owner['kind'], owner['uid']) == ('Pod', pod.uid)


def test_what_kubectl_get_shows(
    controller: Kubernetes, cluster: Cluster, pod: model.Pod, vif: model.Vif
) -> None:
    controller.publish(pod, [vif])
    table = cluster.call('GET', PORTS, Accept=TABLE)
    columns = [each['name'] for each in table['columnDefinitions']]
    assert columns == ['Name', 'Pod', 'Node', 'Interfaces']
    assert table['rows'][0]['cells'] == [pod.uid, 'web', 'node1', 'net1']


def test_a_field_of_a_newer_controller_is_kept(
    controller: Kubernetes,
    node: Kubernetes,
    cluster: Cluster,
    pod: model.Pod,
    vif: model.Vif,
) -> None:
    controller.publish(pod, [vif])
    place = f'{PORTS}/{pod.uid}'
    port = cluster.call('GET', place)
    port['spec']['vifs'][0]['newer'] = 1
    cluster.call('PUT', place, port)
    assert cluster.call('GET', place)['spec']['vifs'][0]['newer'] == 1
    assert node.vifs_of(pod) == (vif,)


def test_a_port_without_vifs_is_refused(cluster: Cluster) -> None:
    port = {
        'apiVersion': 'openstack.org/v1',
        'kind': 'KuryrSriovPort',
        'metadata': {'name': 'x'},
        'spec': {'podName': 'web', 'podUid': 'x'},
    }
    with pytest.raises(ApiError, match=r'spec\.vifs: Required'):
        cluster.call('POST', PORTS, port)


def test_without_its_definition_the_file_is_named(
    controller: Kubernetes, cluster: Cluster, pod: model.Pod, vif: model.Vif
) -> None:
    definition = f'{PLACES["CustomResourceDefinition"]}/{PORTS_CRD}'
    cluster.call('DELETE', definition)

    def gone() -> bool:
        try:
            cluster.call('GET', PORTS)
        except ApiError as error:
            return error.code == 404
        return False

    wait_for(gone, 30, 'the definition to be gone')
    with pytest.raises(exceptions.PermanentError, match=r'apply etc/.*crd'):
        controller.publish(pod, [vif])
    cluster.apply(OBJECTS / 'crd.yaml')
    cluster.wait_served(PORTS)
    controller.publish(pod, [vif])
