# SPDX-License-Identifier: Apache-2.0
"""``kuryr-sriov pod`` with the credentials that a node daemon has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubelab.cluster import Cluster

from kuryr_sriov import model
from kuryr_sriov.clients.kubernetes.objects import Kubernetes
from kuryr_sriov.clients.kubernetes.portobject import Condition
from kuryr_sriov.cmd.pod_story.telling import read_story
from kuryr_sriov.config import loading
from kuryr_sriov.testing.simulation.simulated_node import SimulatedNode

NETWORKS = 'k8s.v1.cni.cncf.io/networks'


def test_what_a_node_may_read_is_told(
    cluster: Cluster,
    controller: Kubernetes,
    node: Kubernetes,
    make_pod: Callable[..., Any],
    vif: model.Vif,
    tmp_path: Path,
) -> None:
    made = make_pod('web', **{NETWORKS: 'sriov-net1'})
    pod = model.Pod('default', 'web', made['metadata']['uid'], 'node1')
    controller.publish(pod, [vif])
    refused = Condition(
        'False', 'ProviderRefused', 'no such subnet', '2026-01-01T00:00:00Z'
    )
    controller.record(pod, {'Requested': refused}, {})
    conf = loading.load_config(files=[])
    conf.set_override('state_dir', str(tmp_path / 'state'), 'sriov')
    host = SimulatedNode(tmp_path / 'node', []).host
    story = read_story(node, host, conf, 'default', 'web')
    chapters = {chapter.title: chapter for chapter in story.chapters}
    assert 'on node node1' in ' '.join(chapters['Pod'].facts)
    assert vif.mac in ' '.join(chapters['Port object'].facts)
    (trouble,) = chapters['Port object'].troubles
    assert trouble.message == 'Requested: no such subnet'


def test_a_pod_that_is_gone(node: Kubernetes, tmp_path: Path) -> None:
    conf = loading.load_config(files=[])
    conf.set_override('state_dir', str(tmp_path / 'state'), 'sriov')
    host = SimulatedNode(tmp_path / 'node', []).host
    story = read_story(node, host, conf, 'default', 'nobody')
    assert story.troubles[0].message == (
        'The API server has no pod default/nobody.'
    )
