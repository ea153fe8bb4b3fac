# SPDX-License-Identifier: Apache-2.0
"""Who may do what: the roles of deploy/base are enough, and no more."""

import pytest
from kubelab.cluster import PORTS, ApiError, Cluster

from kuryr_sriov import exceptions, model
from kuryr_sriov.clients.kubernetes.objects import Kubernetes

PORT = {
    'apiVersion': 'openstack.org/v1',
    'kind': 'KuryrSriovPort',
    'metadata': {'name': 'forged'},
    'spec': {'podName': 'web', 'podUid': 'forged', 'vifs': []},
}


def may(
    cluster: Cluster,
    user: str,
    verb: str,
    resource: str,
    sub: str = '',
    namespace: str = 'default',
    name: str = '',
) -> bool:
    """What the API server itself says of the user."""
    group, _, plural = resource.rpartition('/')
    asked = {
        'namespace': namespace,
        'verb': verb,
        'group': group,
        'resource': plural,
        'subresource': sub,
        'name': name,
    }
    path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'
    body = {
        'apiVersion': 'authorization.k8s.io/v1',
        'kind': 'SelfSubjectAccessReview',
        'spec': {'resourceAttributes': asked},
    }
    return bool(cluster.call('POST', path, body, user)['status']['allowed'])


PORTS_OF = 'openstack.org/kuryrsriovports'
NADS_OF = 'k8s.cni.cncf.io/network-attachment-definitions'
EVENTS_OF = 'events.k8s.io/events'
LEASES_OF = 'coordination.k8s.io/leases'
READ = 'get', 'list', 'watch'
EVERYTHING = {
    (verb, *resource.split(':'))
    for verb in (*READ, 'create', 'update', 'patch', 'delete')
    for resource in (
        *(PORTS_OF, f'{PORTS_OF}:status', NADS_OF, 'pods', 'pods:status'),
        *('secrets', 'nodes', 'namespaces', EVENTS_OF, LEASES_OF),
        *('apps/daemonsets', 'configmaps', 'pods:exec', 'pods:eviction'),
        'rbac.authorization.k8s.io/clusterroles',
    )
}


@pytest.mark.parametrize(
    ('user', 'rights'),
    [
        (
            'controller',
            {
                *((verb, 'pods') for verb in READ),
                *((verb, NADS_OF) for verb in READ),
                *((verb, PORTS_OF) for verb in READ),
                *((verb, PORTS_OF) for verb in ('create', 'patch', 'delete')),
                ('patch', PORTS_OF, 'status'),
                *((verb, EVENTS_OF) for verb in ('create', 'patch')),
            },
        ),
        (
            'node',
            {
                *((verb, 'pods') for verb in ('list', 'watch')),
                *((verb, PORTS_OF) for verb in READ),
                ('patch', PORTS_OF, 'status'),
                ('patch', 'pods', 'status'),
                *((verb, EVENTS_OF) for verb in ('create', 'patch')),
            },
        ),
    ],
)
def test_the_roles_allow_what_is_needed_and_no_more(
    cluster: Cluster, user: str, rights: set[tuple[str, ...]]
) -> None:
    allowed = {each for each in EVERYTHING if may(cluster, user, *each)}
    assert allowed == rights


def test_only_the_controller_may_hold_its_lease(cluster: Cluster) -> None:
    for user, allowed in (('controller', True), ('node', False)):
        for verb in ('get', 'update'):
            assert allowed is may(
                cluster,
                user,
                verb,
                LEASES_OF,
                namespace='kuryr-sriov',
                name='kuryr-sriov-controller',
            )
    assert not may(
        cluster, 'controller', 'update', LEASES_OF, namespace='kuryr-sriov'
    )


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
    assert str(caught.value).endswith('roles of deploy/base/rbac.yaml')


def test_what_nodes_offer_is_for_a_persons_eyes(
    cluster: Cluster, connect, controller: Kubernetes, node: Kubernetes
) -> None:
    """``kuryr-sriov check`` reads it, with his credentials."""
    metadata = {'name': 'worker'}
    path = '/api/v1/nodes'
    cluster.call(
        'POST',
        path,
        {'apiVersion': 'v1', 'kind': 'Node', 'metadata': metadata},
    )
    offered = {'allocatable': {'intel.com/physnet22': '7'}}
    try:
        cluster.call(
            'PATCH',
            f'{path}/worker/status',
            {'status': offered},
            Content_Type='application/merge-patch+json',
        )
        offers = connect('admin').list_offers()
        assert 'intel.com/physnet22' in offers['worker']
        for daemon in controller, node:
            with pytest.raises(exceptions.PermanentError, match='nodes'):
                daemon.list_offers()
    finally:
        cluster.call('DELETE', f'{path}/worker')


def test_credentials_that_are_no_more(
    cluster: Cluster, connect, pod: model.Pod
) -> None:
    with pytest.raises(exceptions.PermanentError, match='renew the cred'):
        connect('nobody').vifs_of(pod)
