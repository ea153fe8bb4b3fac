# SPDX-License-Identifier: Apache-2.0
"""The how-to's Deployment on a real kubelet: which devices its pods get."""

from __future__ import annotations

from typing import Any

import pytest
from clusterlab.cluster import HOWTO, Cluster
from clusterlab.controlplane import KubectlFailed


@pytest.fixture
def pods(cluster: Cluster) -> list[Any]:
    """Two replicas of the how-to's file as it stands, which run."""
    cluster.plane.run('apply', '-f', HOWTO / 'deployment.yaml')
    cluster.plane.run('scale', 'deployment/nginx-sriov', '--replicas=2')
    return cluster.wait_running(2)


def run(cluster: Cluster, pod: Any, *words: str) -> str:
    """What a program in the pod says."""
    name = pod['metadata']['name']
    return cluster.plane.run('exec', name, '--', *words)


def vf_of(cluster: Cluster, pod: Any) -> tuple[str, str]:
    """A pod's VF for DPDK: its IOMMU group and its address."""
    variable = '$PCIDEVICE_INTEL_COM_PHYSNET22'
    pci = run(cluster, pod, 'sh', '-c', f'echo {variable}').strip()
    link = f'/sys/bus/pci/devices/{pci}/iommu_group'
    group = cluster.machine.shell(f'basename $(readlink {link})').strip()
    return group, pci


def test_a_program_in_the_container_opens_its_vf_and_no_other(
    cluster: Cluster, pods: list[Any]
) -> None:
    """With the privileges that the page says, and no more."""
    first, second = (vf_of(cluster, pod) for pod in pods)
    assert first != second
    for pod, vf in zip(pods, (first, second), strict=True):
        told = run(cluster, pod, 'open-vfio', *vf)
        assert told.startswith('8086:10ca ')
    with pytest.raises(KubectlFailed, match='Operation not permitted'):
        run(cluster, pods[0], 'open-vfio', *second)
