# SPDX-License-Identifier: Apache-2.0
"""An entry and its NAD make a request, or the NAD is not ours."""

import json

import pytest

from kuryr_sriov import model
from kuryr_sriov.exceptions import InvalidAnnotation
from kuryr_sriov.npwg.requests import (
    Selection,
    pod_of,
    request_of,
    wants_vifs,
)

ENTRY = Selection('default', 'sriov-net1', 'net1')


def nad(config=None, **annotations):
    if config is not None:
        annotations['openstack.org/kuryr-config'] = config
    return {'metadata': {'annotations': annotations}}


def ours(**keys):
    return nad(json.dumps({'driverType': 'sriov', **keys}))


def test_the_how_to():
    text = '{\n"subnetId": "uuid-1",\n"driverType": "sriov"\n}'
    assert request_of(ENTRY, nad(text)) == model.NetworkRequest(
        'default', 'sriov-net1', 'net1', subnet_ids=('uuid-1',)
    )


def test_what_the_pod_asks_for_goes_into_the_request():
    entry = Selection(
        'a',
        'b',
        'fast0',
        ips=('10.0.0.2',),
        mac='02:00:00:00:00:07',
        gateways=('10.0.0.1',),
    )
    body = ours(subnetId=['uuid-4', 'uuid-6'], allow=['ips', 'mac'])
    body['metadata']['annotations']['k8s.v1.cni.cncf.io/resourceName'] = (
        'intel.com/physnet22'
    )
    assert request_of(entry, body) == model.NetworkRequest(
        namespace='a',
        name='b',
        ifname='fast0',
        subnet_ids=('uuid-4', 'uuid-6'),
        resource='intel.com/physnet22',
        ips=('10.0.0.2',),
        mac='02:00:00:00:00:07',
        gateways=('10.0.0.1',),
    )


def test_without_subnet_the_default_of_the_physnet_is_meant():
    assert request_of(ENTRY, ours()).subnet_ids == ()


@pytest.mark.parametrize(
    'body',
    [
        {'metadata': {}},
        {'metadata': {'annotations': None}},
        nad(),
        nad('{}'),
        nad('{"driverType": "macvlan", "subnetId": 7}'),
        nad('{"driverType": null}'),
    ],
)
def test_a_nad_without_driver_type_sriov_is_left_alone(body):
    bandwidth = Selection('a', 'b', 'net1', extras=('bandwidth',))
    assert request_of(bandwidth, body) is None


KURYR_CONFIG = 'openstack.org/kuryr-config'


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{', f'{KURYR_CONFIG}: it is not JSON: Expecting property name'),
        ('[]', f'{KURYR_CONFIG}: [] is not an object; write '),
        (
            '{"driverType": 1}',
            f'{KURYR_CONFIG}: driverType 1 is not a string; correct it.',
        ),
        (
            '{"driverType": "sriov", "driverType": "sriov"}',
            f"{KURYR_CONFIG}: 'driverType' is there twice; keep one.",
        ),
    ],
)
def test_a_nad_that_cannot_be_read_is_named(text, message):
    with pytest.raises(InvalidAnnotation) as caught:
        request_of(ENTRY, nad(text))
    where = 'NetworkAttachmentDefinition default/sriov-net1'
    assert str(caught.value).startswith(f'{where}: {message}')


@pytest.mark.parametrize(
    'subnet', ['', 7, None, {}, [], [7], ['a', ''], ['a', 'a'], ['a'] * 3]
)
def test_a_bad_subnet_is_refused(subnet):
    with pytest.raises(InvalidAnnotation) as caught:
        request_of(ENTRY, ours(subnetId=subnet))
    assert str(caught.value) == (
        f'NetworkAttachmentDefinition default/sriov-net1: {KURYR_CONFIG}: '
        f'subnetId {subnet!r} is neither an id nor a list of two; write the '
        f'id of a subnet, or leave it out for the default of the physnet.'
    )


@pytest.mark.parametrize('resource', ['physnet22', '/x', 'a/b/c', 'a/b.c'])
def test_a_resource_name_has_to_be_full(resource):
    body = ours()
    body['metadata']['annotations']['k8s.v1.cni.cncf.io/resourceName'] = (
        resource
    )
    with pytest.raises(InvalidAnnotation) as caught:
        request_of(ENTRY, body)
    assert str(caught.value) == (
        'NetworkAttachmentDefinition default/sriov-net1: '
        f'k8s.v1.cni.cncf.io/resourceName {resource!r} is not a full '
        f'resource name; write PREFIX/NAME, such as intel.com/physnet22.'
    )


def test_what_a_vf_cannot_do_is_refused_rather_than_left_out():
    entry = Selection('a', 'b', 'net1', extras=('bandwidth', 'cni-args'))
    with pytest.raises(InvalidAnnotation) as caught:
        request_of(entry, ours())
    assert str(caught.value) == (
        'NetworkAttachmentDefinition a/b: an SR-IOV network cannot do '
        "bandwidth, cni-args; remove that from the pod's annotation "
        'k8s.v1.cni.cncf.io/networks.'
    )


def test_pod_of_a_kubernetes_object():
    metadata = {'namespace': 'default', 'name': 'nginx', 'uid': 'u-1'}
    body = {'metadata': metadata, 'spec': {'nodeName': 'node1'}}
    assert pod_of(body) == model.Pod('default', 'nginx', 'u-1', 'node1')


@pytest.mark.parametrize('more', [{}, {'spec': {}}])
def test_an_unscheduled_pod_has_no_node(more):
    metadata = {'namespace': 'default', 'name': 'nginx', 'uid': 'u-1'}
    assert pod_of({'metadata': metadata, **more}).node == ''


@pytest.mark.parametrize(
    ('wish', 'key'),
    [
        ({'ips': ('10.0.0.2',)}, 'ips'),
        ({'mac': '02:00:00:00:00:07'}, 'mac'),
        ({'guid': '00:11:22:33:44:55:66:77'}, 'infiniband-guid'),
    ],
)
def test_a_pod_chooses_only_what_the_author_of_the_nad_allows(wish, key):
    entry = Selection('a', 'b', 'net1', **wish)
    other = 'mac' if key == 'ips' else 'ips'
    for allow in ([], [other]):
        with pytest.raises(InvalidAnnotation) as caught:
            request_of(entry, ours(allow=allow))
        assert str(caught.value) == (
            'NetworkAttachmentDefinition a/b: its pods may not choose '
            f'{key}; remove {key} from the annotation '
            f"k8s.v1.cni.cncf.io/networks of the pod, or add '{key}' to "
            f'"allow" in {KURYR_CONFIG}.'
        )
    request_of(entry, ours(allow=[key]))


@pytest.mark.parametrize('allow', ['ips', None, {}, ['gateway'], [[]], [7]])
def test_what_a_nad_allows_is_a_list_of_known_choices(allow):
    with pytest.raises(InvalidAnnotation, match='is not a list of ips and'):
        request_of(ENTRY, ours(allow=allow))


def test_a_key_that_nobody_knows_is_refused_where_the_network_is_ours():
    entry = Selection('a', 'b', 'net1', unknown=('interfaces',))
    assert request_of(entry, nad()) is None
    with pytest.raises(InvalidAnnotation) as caught:
        request_of(entry, ours())
    assert str(caught.value) == (
        'annotation k8s.v1.cni.cncf.io/networks, network a/b: there is no '
        "key 'interfaces'; use name, namespace, ips, mac, interface, "
        'default-route, infiniband-guid, portMappings, bandwidth, cni-args, '
        'ipam-claim-reference, or a reverse-DNS key.'
    )


def scheduled(annotation='a', status=None, **spec):
    metadata = {'annotations': {'k8s.v1.cni.cncf.io/networks': annotation}}
    spec = {'nodeName': 'node1', **spec}
    return {'metadata': metadata, 'spec': spec, 'status': status}


def deleting(body):
    body['metadata']['deletionTimestamp'] = '2026-01-01T00:00:00Z'
    return body


def test_a_running_pod_that_names_networks_wants_vifs():
    assert wants_vifs(scheduled())
    assert wants_vifs(scheduled(status={'phase': 'Running'}))
    assert wants_vifs(scheduled(hostNetwork=False))


@pytest.mark.parametrize(
    'body',
    [
        scheduled(' '),
        {'metadata': {}, 'spec': {'nodeName': 'node1'}},
        scheduled(nodeName=''),
        scheduled(nodeName=None),
        scheduled(hostNetwork=True),
        scheduled(status={'phase': 'Succeeded'}),
        scheduled(status={'phase': 'Failed'}),
        deleting(scheduled()),
        {'metadata': scheduled()['metadata']},
    ],
)
def test_a_pod_that_must_have_no_vifs(body):
    assert not wants_vifs(body)
