# SPDX-License-Identifier: Apache-2.0
"""One API server for all tests; every test leaves no object of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubelab.cluster import PLACES, PORTS, Cluster
from values import VIF

from kuryr_sriov import model
from kuryr_sriov.clients.kubernetes import Kubernetes

Connect = Callable[[str], Kubernetes]


@pytest.fixture(scope='session')
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp('kubernetes')) as running:
        yield running


@pytest.fixture(autouse=True)
def clean(cluster: Cluster) -> Iterator[None]:
    """Namespaced objects end with the test that made them."""
    yield
    kinds = 'Deployment', 'NetworkAttachmentDefinition', 'Pod'
    for place in (PORTS, *(PLACES[kind] for kind in kinds)):
        for item in cluster.call('GET', place)['items']:
            name = item['metadata']['name']
            now = f'{place}/{name}?gracePeriodSeconds=0'
            cluster.call('DELETE', now)


@pytest.fixture
def connect(cluster: Cluster) -> Iterator[Connect]:
    """Makes this project's client, with the kubeconfig of a user."""
    with contextlib.ExitStack() as stack:

        def connect(user: str) -> Kubernetes:
            client = Kubernetes(kubeconfig=str(cluster.kubeconfig(user)))
            return stack.enter_context(contextlib.closing(client))

        yield connect


@pytest.fixture
def controller(connect: Connect) -> Kubernetes:
    return connect('kuryr-sriov-controller')


@pytest.fixture
def node(connect: Connect) -> Kubernetes:
    return connect('kuryr-sriov-node')


@pytest.fixture
def make_pod(cluster: Cluster) -> Callable[..., Any]:
    """Makes a pod that runs on ``node1``; the object of the API."""

    def make(name: str = 'web', **annotations: str) -> Any:
        return cluster.create(
            {
                'apiVersion': 'v1',
                'kind': 'Pod',
                'metadata': {'name': name, 'annotations': annotations},
                'spec': {
                    'nodeName': 'node1',
                    'containers': [{'name': 'c', 'image': 'nginx:1.29'}],
                },
            }
        )

    return make


@pytest.fixture
def pod(make_pod: Callable[..., Any]) -> model.Pod:
    """That pod, as the library has it."""
    made = make_pod(theirs='kept')
    return model.Pod('default', 'web', made['metadata']['uid'], 'node1')


@pytest.fixture
def vif() -> model.Vif:
    return VIF
