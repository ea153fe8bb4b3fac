# SPDX-License-Identifier: Apache-2.0
"""Who may do what: the roles of etc/kubernetes are enough, and no more."""

import pytest
from kubelab.cluster import PORTS, ApiError, Cluster

from kuryr_sriov import exceptions, model
from kuryr_sriov.clients.kubernetes import Kubernetes

PORT = {
    'apiVersion': 'openstack.org/v1',
    'kind': 'KuryrSriovPort',
    'metadata': {'name': 'forged'},
    'spec': {'podName': 'web', 'podUid': 'forged', 'vifs': []},
}


def may(
    cluster: Cluster, user: str, verb: str, resource: str, sub: str = ''
) -> bool:
    """What the API server itself says of the user."""
    group, _, name = resource.rpartition('/')
    asked = {
        'namespace': 'default',
        'verb': verb,
        'group': group,
        'resource': name,
        'subresource': sub,
    }
    place = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'
    body = {
        'apiVersion': 'authorization.k8s.io/v1',
        'kind': 'SelfSubjectAccessReview',
        'spec': {'resourceAttributes': asked},
    }
    return bool(cluster.call('POST', place, body, user)['status']['allowed'])


PORTS_OF = 'openstack.org/kuryrsriovports'
NADS_OF = 'k8s.cni.cncf.io/network-attachment-definitions'
EVERYTHING = {
    (verb, resource)
    for verb in ('get', 'list', 'watch', 'create', 'update', 'patch', 'delete')
    for resource in (PORTS_OF, NADS_OF, 'pods', 'secrets', 'nodes')
}


@pytest.mark.parametrize(
    ('user', 'rights'),
    [
        (
            'kuryr-sriov-controller',
            {
                *(('get', 'pods'), ('list', 'pods'), ('watch', 'pods')),
                ('get', NADS_OF),
                *(('create', PORTS_OF), ('patch', PORTS_OF)),
            },
        ),
        ('kuryr-sriov-node', {('get', PORTS_OF)}),
    ],
)
def test_the_roles_allow_what_is_needed_and_no_more(
    cluster: Cluster, user: str, rights: set[tuple[str, str]]
) -> None:
    allowed = {each for each in EVERYTHING if may(cluster, user, *each)}
    assert allowed == rights
    of_status = may(cluster, user, 'patch', 'pods', 'status')
    assert of_status == (user == 'kuryr-sriov-node')


def test_a_pods_author_cannot_write_what_root_acts_on(
    cluster: Cluster,
) -> None:
    """Not even the administrator of the namespace, by Kubernetes' roles."""
    assert may(cluster, 'author', 'create', 'pods')
    for verb in ('create', 'update', 'patch', 'delete'):
        assert not may(cluster, 'author', verb, PORTS_OF)
    with pytest.raises(ApiError) as caught:
        cluster.call('POST', PORTS, PORT, 'author')
    assert caught.value.code == 403


def test_the_node_cannot_publish(
    node: Kubernetes, pod: model.Pod, vif: model.Vif
) -> None:
    """Whoever breaks into a node must not choose the VIFs of others."""
    with pytest.raises(exceptions.PermanentError) as caught:
        node.publish(pod, [vif])
    assert 'cannot patch resource "kuryrsriovports"' in str(caught.value)
    assert str(caught.value).endswith('roles of etc/kubernetes/rbac.yaml')


def test_credentials_that_are_no_more(
    cluster: Cluster, connect, pod: model.Pod
) -> None:
    with pytest.raises(exceptions.PermanentError, match='renew the cred'):
        connect('nobody').vifs_of(pod)
