# SPDX-License-Identifier: Apache-2.0
"""VIFs on their way from the controller to the node."""

import dataclasses
import threading

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
from kuryr_sriov.clients.kubernetes.objects import Kubernetes
from kuryr_sriov.clients.kubernetes.portobject import (
    Condition,
    PortObject,
    ReportedAttachment,
)
from kuryr_sriov.clients.kubernetes.watch import Change

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
    """All interfaces: of several values a column shows the first."""
    other = dataclasses.replace(vif, id='other', ifname='net2')
    controller.publish(pod, [vif, other])
    why = Condition('False', 'NetworkMissing', 'no', '2026-01-01T00:00:00Z')
    controller.record(pod, {'Requested': why}, {})
    table = cluster.call('GET', PORTS, Accept=TABLE)
    columns = [each['name'] for each in table['columnDefinitions']]
    assert columns == [
        *('Name', 'Pod', 'Node', 'Interfaces'),
        *('Requested', 'Attached', 'Active', 'Age'),
        *('Request', 'Activation', 'Trouble'),
    ]
    cells = dict(zip(columns, table['rows'][0]['cells'], strict=True))
    assert cells['Pod'] == 'web'
    assert cells['Node'] == 'node1'
    assert cells['Interfaces'] == 'net1,net2'
    assert cells['Requested'] == 'False'
    assert cells['Attached'] in (None, '')
    assert cells['Request'] == 'NetworkMissing'
    assert cells['Trouble'] == 'no'


LOCATION = model.Location('node1', '0000:02:10.0', '8086:10ca', 'physnet22')
ATTACHED = Condition('True', 'Attached', 'all', '2026-01-01T00:00:00Z')


def test_the_story_of_a_port_is_in_its_columns(
    controller: Kubernetes,
    node: Kubernetes,
    cluster: Cluster,
    pod: model.Pod,
    vif: model.Vif,
) -> None:
    """Each side writes its own conditions, and keeps the other's."""
    done = Condition('True', 'Done', '', '2026-01-01T00:00:00Z')
    controller.publish(pod, [vif])
    controller.record(pod, {'Requested': done}, {})
    node.report(pod, [ReportedAttachment('net1', vif.id, LOCATION)], ATTACHED)
    port = controller.record(
        pod, {'Requested': done, 'Active': done}, {vif.id: '0000:02:10.0'}
    )
    assert set(port.conditions) == {'Requested', 'Attached', 'Active'}
    assert port.activated == {vif.id: '0000:02:10.0'}
    assert port.attachments[0].location == LOCATION
    table = cluster.call('GET', PORTS, Accept=TABLE)
    columns = [each['name'] for each in table['columnDefinitions']]
    cells = dict(zip(columns, table['rows'][0]['cells'], strict=True))
    assert [cells[kind] for kind in ('Requested', 'Attached', 'Active')] == [
        'True'
    ] * 3
    cleared = node.report(pod, [], ATTACHED)
    assert cleared.attachments == ()
    assert set(cleared.conditions) == {'Requested', 'Attached', 'Active'}


def test_which_ports_a_node_found_outlives_its_report(
    controller: Kubernetes, node: Kubernetes, pod: model.Pod, vif: model.Vif
) -> None:
    """They are of two managers, though of one daemon."""
    controller.publish(pod, [vif])
    node.tell_found(pod, {'net1': 'port-1'})
    node.report(pod, [], ATTACHED)
    node.tell_found(pod, {'net1': 'port-2'})
    reported = node.report(pod, [], ATTACHED)
    assert reported.found == {'net1': 'port-2'}


def test_an_object_stays_until_its_finalizer_goes(
    controller: Kubernetes, cluster: Cluster, pod: model.Pod, vif: model.Vif
) -> None:
    port = controller.delete_port_object(controller.publish(pod, [vif]))
    assert port is not None
    assert port.deleting
    assert port.vifs == (vif,)
    controller.remove_finalizer(port)
    assert cluster.call('GET', PORTS)['items'] == []
    assert controller.delete_port_object(port) is None


def test_a_finalizer_does_not_go_by_an_old_look_at_it(
    controller: Kubernetes,
    node: Kubernetes,
    pod: model.Pod,
    vif: model.Vif,
) -> None:
    port = controller.publish(pod, [vif])
    node.report(pod, [], ATTACHED)
    with pytest.raises(exceptions.ResourceConflict):
        controller.remove_finalizer(port)


def test_a_node_watches_its_own_objects(
    controller: Kubernetes,
    node: Kubernetes,
    pod: model.Pod,
    make_pod,
    vif: model.Vif,
) -> None:
    made = make_pod('other')
    uid = made['metadata']['uid']
    other = model.Pod('default', 'other', uid, 'node2')
    seen: list[Change[PortObject]] = []
    cache = node.watch_port_objects(seen.append, node='node1')
    thread = threading.Thread(target=cache.run)
    thread.start()
    try:
        assert cache.wait_complete(30)
        controller.publish(other, [vif])
        controller.publish(pod, [vif])
        wait_for(lambda: cache.get(pod.uid), 30, 'the port object')
    finally:
        cache.stop()
        thread.join()
    assert list(cache.all()) == [pod.uid]
    assert [change.key for change in seen] == [pod.uid]


def test_a_field_of_a_newer_controller_is_kept(
    controller: Kubernetes,
    node: Kubernetes,
    cluster: Cluster,
    pod: model.Pod,
    vif: model.Vif,
) -> None:
    controller.publish(pod, [vif])
    path = f'{PORTS}/{pod.uid}'
    port = cluster.call('GET', path)
    port['spec']['vifs'][0]['newer'] = 1
    cluster.call('PUT', path, port)
    assert cluster.call('GET', path)['spec']['vifs'][0]['newer'] == 1
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
    with pytest.raises(exceptions.PermanentError, match=r'apply deploy/.*crd'):
        controller.publish(pod, [vif])
    cluster.apply(OBJECTS / 'crd.yaml')
    cluster.wait_served(PORTS)
    controller.publish(pod, [vif])
