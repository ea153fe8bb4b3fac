# SPDX-License-Identifier: Apache-2.0
"""The how-to's files on a real API server, from pod to VFs and back."""

import contextlib
import json
from pathlib import Path

import pytest
from kubelab.cluster import PLACES, ApiError, Cluster

from kuryr_sriov import Controller, Node, exceptions, model
from kuryr_sriov.clients.kubernetes.objects import Kubernetes
from kuryr_sriov.cmd.demo import howto_files
from kuryr_sriov.npwg.status import NETWORK_STATUS, network_status
from kuryr_sriov.testing.simulation.kubelet import Kubelet
from kuryr_sriov.testing.simulation.simulated_node import SimulatedNode

FILES = howto_files.default_folder()


@pytest.fixture
def nads(cluster: Cluster) -> None:
    for name in ('sriov-net1', 'sriov-net2'):
        cluster.apply(FILES / f'{name}.yaml')


def schedule(cluster: Cluster) -> dict:
    """Make the pod of the how-to's Deployment, as its controller would."""
    (deployment,) = cluster.apply(FILES / 'deployment.yaml')
    template = deployment['spec']['template']
    template['metadata']['name'] = 'nginx-sriov-x2x9v'
    template['spec']['nodeName'] = howto_files.NODE
    return cluster.create({'apiVersion': 'v1', 'kind': 'Pod', **template})


def test_from_pod_to_vfs_and_back(
    cluster: Cluster,
    nads: None,
    controller: Kubernetes,
    node: Kubernetes,
    tmp_path: Path,
) -> None:
    """All but kernel and kubelet is real."""
    files, body = howto_files.read_howto(FILES), schedule(cluster)
    metadata = body['metadata']
    pod = model.Pod(
        'default', metadata['name'], metadata['uid'], howto_files.NODE
    )
    (tmp_path / 'kube').mkdir()
    conf = files.conf(tmp_path)
    with contextlib.ExitStack() as stack:
        simulated = SimulatedNode(tmp_path / 'node', files.pfs())
        stack.callback(simulated.close)
        before = simulated.state()
        kubelet = stack.enter_context(Kubelet(tmp_path / 'kube'))
        for name, pfs in files.pools.items():
            vfs = [vf for pf in pfs for vf in simulated.vfs(pf)]
            kubelet.plug(f'intel.com/{name}', vfs)
        kubelet.allocate(pod.namespace, pod.name, pod.uid, files.requests())
        sandbox = model.Sandbox('c1', simulated.add_netns('/run/c1'), pod)
        daemon = Controller(conf, controller.get_nad, controller.publish)
        library = stack.enter_context(Node(conf, host=simulated.host))

        promised = daemon.request(body)
        vifs = node.vifs_of(pod)
        assert vifs == promised
        attached = library.attach(sandbox, vifs)
        node.patch_network_status(pod, network_status(attached))
        for each in attached:
            assert daemon.activate(pod, each.vif, each.location).active
        library.check(sandbox.container_id)

        shown = cluster.call('GET', f'{PLACES["Pod"]}/{pod.name}')
        status = json.loads(shown['metadata']['annotations'][NETWORK_STATUS])
        assert [each['interface'] for each in status] == ['net1', 'net2']
        assert [each['mac'] for each in status] == [vif.mac for vif in vifs]
        library.detach(sandbox.container_id)
        daemon.release(pod)
        assert simulated.state() == before
        assert list(daemon.vifs.list_vifs()) == []


def test_a_network_that_is_not_there_is_named(
    cluster: Cluster, controller: Kubernetes, tmp_path: Path
) -> None:
    published = []
    daemon = Controller(
        howto_files.read_howto(FILES).conf(tmp_path),
        controller.get_nad,
        lambda pod, vifs: published.append(vifs),
    )
    with pytest.raises(exceptions.NetworkMissing) as caught:
        daemon.request(schedule(cluster))
    assert 'NetworkAttachmentDefinition default/sriov-net1' in str(
        caught.value
    )
    assert published == []


def test_privileged_beside_the_security_context_is_not_understood(
    cluster: Cluster,
) -> None:
    """As kuryr-kubernetes' page of that name has it."""
    container = {'name': 'c', 'image': 'nginx:1.29', 'privileged': True}
    with pytest.raises(ApiError, match='unknown field'):
        cluster.create(
            {
                'apiVersion': 'v1',
                'kind': 'Pod',
                'metadata': {'name': 'old'},
                'spec': {'containers': [container]},
            }
        )


def test_the_server_goes_and_comes_back(
    cluster: Cluster,
    controller: Kubernetes,
    node: Kubernetes,
    pod: model.Pod,
    vif: model.Vif,
) -> None:
    """No client is made anew for it."""
    controller.publish(pod, [vif])
    cluster.api.stop()
    with pytest.raises(exceptions.TransientError, match='no answer'):
        node.vifs_of(pod)
    cluster.restart()
    assert node.vifs_of(pod) == (vif,)
