# SPDX-License-Identifier: Apache-2.0
"""What is asked of the Kubernetes API, and how its answers are read."""

import copy

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.clients.kubernetes.objects import Kubernetes
from kuryr_sriov.clients.kubernetes.portobject import (
    FINALIZER,
    Condition,
    PortObject,
    ReportedAttachment,
    read_port_object,
)
from kuryr_sriov.npwg.status import NETWORK_STATUS

POD = model.Pod('ns', 'web', 'uid-web', 'node-1')
VIF = model.Vif(
    'id',
    'net1',
    'ns/nad',
    'intel.com/a',
    'physnet22',
    'fa:16:3e:00:00:01',
    addresses=('192.168.2.2/24',),
    routes=(model.Route('10.0.0.0/8'),),
)
NAD = '/apis/k8s.cni.cncf.io/v1/namespaces/ns/network-attachment-definitions/'
WEB = '/api/v1/namespaces/ns/pods/web'
PORT = '/apis/openstack.org/v1/namespaces/ns/kuryrsriovports/uid-web'


@pytest.fixture
def client(session):
    return Kubernetes(session)


def test_nad(server, client):
    nad = {'kind': 'NetworkAttachmentDefinition', 'metadata': {'name': 'a'}}
    server.objects[NAD + 'a'] = nad
    assert client.get_nad('ns', 'a') == nad


def test_no_nad(client):
    with pytest.raises(exceptions.NetworkMissing) as error:
        client.get_nad('ns', 'a')
    assert str(error.value) == (
        'there is no NetworkAttachmentDefinition ns/a (not found); create '
        'it, or correct the networks annotation'
    )


def test_name_cannot_leave_its_place(server, client):
    server.objects['/api/v1/secret'] = {'kind': 'Secret'}
    with pytest.raises(exceptions.NetworkMissing):
        client.get_nad('ns', '../../../../../../../api/v1/secret')


def test_network_status_leaves_other_annotations_alone(server, client):
    metadata = {'uid': 'uid-web', 'annotations': {'theirs': 'kept'}}
    server.objects[WEB] = {'kind': 'Pod', 'metadata': metadata, 'status': {}}
    before = copy.deepcopy(server.objects[WEB])
    client.patch_network_status(POD, [{'name': 'ns/nad'}])
    before['metadata']['annotations'][NETWORK_STATUS] = '[{"name": "ns/nad"}]'
    assert server.objects[WEB] == before
    assert [method for method, *_ in server.requests] == ['PATCH']


def test_network_status_is_not_for_another_pod_of_that_name(server, client):
    server.objects[WEB] = {'kind': 'Pod', 'metadata': {'uid': 'uid-next'}}
    with pytest.raises(exceptions.PermanentError, match='pod ns/web is gone'):
        client.patch_network_status(POD, [])
    assert server.objects[WEB]['metadata'] == {'uid': 'uid-next'}


def test_network_status_of_a_pod_that_is_gone(client):
    with pytest.raises(exceptions.PermanentError, match='pod ns/web is gone'):
        client.patch_network_status(POD, [])


def test_vifs_reach_the_node(server, client):
    client.publish(POD, [VIF])
    assert client.vifs_of(POD) == (VIF,)
    port = server.objects[PORT]
    assert port['apiVersion'] == 'openstack.org/v1'
    assert port['metadata']['ownerReferences'][0]['uid'] == 'uid-web'
    assert port['spec']['podNodeName'] == 'node-1'


def test_published_again(client):
    client.publish(POD, [VIF])
    client.publish(POD, [])
    assert client.vifs_of(POD) == ()


def test_not_yet_published(client):
    with pytest.raises(exceptions.TransientError) as error:
        client.vifs_of(POD)
    assert 'no VIFs of pod ns/web are published' in str(error.value)
    assert error.value.retry_after == 1.0


@pytest.mark.parametrize('spec', [None, {'spec': {'vifs': [{'id': 1}]}}])
def test_published_by_something_else(server, client, spec):
    metadata = {'namespace': 'ns', 'name': 'uid-web'}
    server.objects[PORT] = {
        'kind': 'KuryrSriovPort',
        'metadata': metadata,
        **(spec or {}),
    }
    with pytest.raises(exceptions.PermanentError) as error:
        client.vifs_of(POD)
    assert 'KuryrSriovPort ns/uid-web cannot be read' in str(error.value)


def test_no_custom_resource_definition(server, client):
    server.refusal = 404, 'the server could not find the requested resource'
    with pytest.raises(exceptions.PermanentError, match='apply deploy/base'):
        client.publish(POD, [VIF])


LOCATION = model.Location('node-1', '0000:02:10.0', '8086:10ca', 'physnet22')
REPORT = ReportedAttachment('net1', 'id', LOCATION, 'vfio-pci')


def test_a_promise_keeps_its_object_until_its_ports_are_given_back(client):
    assert client.publish(POD, [VIF], 'digest').finalizers == (FINALIZER,)


def test_a_port_object_reads_back_as_it_was_promised(server, client):
    client.publish(POD, [VIF], 'digest')
    server.objects[PORT]['metadata']['resourceVersion'] = '7'
    port = read_port_object(server.objects[PORT])
    assert (port.pod, port.vifs, port.request) == (POD, (VIF,), 'digest')
    assert port.promises
    assert not port.deleting
    assert port.resource_version == '7'


def test_an_empty_promise_is_none(client):
    assert not client.publish(POD, []).promises


def test_what_the_node_reports_is_read_back(server, client):
    client.publish(POD, [VIF])
    waiting = Condition('False', 'Waiting', 'for a VF', '2026-01-01T00:00:00Z')
    client.report(POD, [REPORT], waiting)
    body = server.objects[PORT]
    # a real API server adds it to the spec, for it is of the status alone
    body['spec'] = {'podName': 'web', 'podNodeName': 'node-1'}
    port = read_port_object(body)
    assert port.attachments == (REPORT,)
    assert port.conditions == {'Attached': waiting}


def test_which_ports_a_node_found_is_read_back(server, client):
    client.publish(POD, [VIF])
    client.tell_found(POD, {'net2': 'port-2', 'net1': 'port-1'})
    port = read_port_object(server.objects[PORT])
    assert port.found == {'net1': 'port-1', 'net2': 'port-2'}


def test_a_report_does_not_say_on_which_node_a_vf_is():
    """Else a node could claim a VF of another one."""
    status = {'attachments': [{'interface': 'net1', 'node': 'other'}]}
    body = {
        'metadata': {'namespace': 'ns', 'name': 'uid-web'},
        'spec': {'podName': 'web', 'podNodeName': 'node-1'},
        'status': status,
    }
    (attachment,) = read_port_object(body).attachments
    assert attachment.location.node == 'node-1'


def test_what_the_controller_did_is_read_back(server, client):
    client.publish(POD, [VIF])
    done = Condition('True', 'Activated', '', '2026-01-01T00:00:00Z')
    client.record(POD, {'Active': done}, {'id': '0000:02:10.0'})
    port = read_port_object(server.objects[PORT])
    assert port.conditions == {'Active': done}
    assert port.activated == {'id': '0000:02:10.0'}


@pytest.mark.parametrize(
    'tell',
    [
        lambda client: client.report(POD, [], Condition('True', 'Done')),
        lambda client: client.record(POD, {}, {}),
        lambda client: client.tell_found(POD, {}),
    ],
)
def test_nothing_is_reported_of_a_port_object_that_is_gone(
    server, client, tell
):
    server.refusal = 404, 'not found'
    with pytest.raises(exceptions.PermanentError, match='web is gone'):
        tell(client)


def test_a_finalizer_goes_and_those_of_others_stay(server, client):
    server.objects[PORT] = {'kind': 'KuryrSriovPort', 'metadata': {}}
    port = PortObject(POD, finalizers=(FINALIZER, 'theirs'))
    client.remove_finalizer(port)
    assert server.objects[PORT]['metadata']['finalizers'] == ['theirs']


def test_deleting_what_is_gone_is_no_error(client):
    port = PortObject(POD, finalizers=(FINALIZER,))
    assert client.delete_port_object(port) is None
    client.remove_finalizer(port)


@pytest.mark.parametrize(
    ('body', 'there'),
    [
        (None, False),
        ({'kind': 'Pod', 'metadata': {'uid': 'uid-web'}}, True),
        ({'kind': 'Pod', 'metadata': {'uid': 'uid-next'}}, False),
    ],
)
def test_a_pod_is_known_by_its_uid(server, client, body, there):
    if body:
        server.objects[WEB] = body
    assert client.is_pod_there(POD) is there


def test_a_cluster_is_known_by_its_system_namespace(server, client):
    namespace = {'kind': 'Namespace', 'metadata': {'uid': 'uid-system'}}
    server.objects['/api/v1/namespaces/kube-system'] = namespace
    assert client.get_cluster_uid() == 'uid-system'


@pytest.mark.parametrize(
    ('says', 'same'),
    [
        (Condition('True', 'Done', 'all', 'then'), True),
        (Condition('True', 'Done', 'some', 'now'), False),
        (None, False),
    ],
)
def test_conditions_are_compared_without_their_times(says, same):
    assert Condition('True', 'Done', 'all', 'now').says(says) is same
