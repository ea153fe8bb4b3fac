# SPDX-License-Identifier: Apache-2.0
"""One API server for all tests; every test leaves no object of its own."""

from __future__ import annotations

import contextlib
import pathlib
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cnirun import SOURCES
from daemons import World
from kubelab.cluster import PORTS, ApiError, Cluster, place
from kubelab.controllers import LEASE, LOCAL, ControllerProcess
from values import VIF

from kuryr_sriov import model
from kuryr_sriov.clients.kubernetes.objects import Kubernetes
from kuryr_sriov.clients.kubernetes.session import KubernetesSession

Connect = Callable[[str], Kubernetes]


@pytest.fixture(scope='session')
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp('kubernetes')) as running:
        yield running


@pytest.fixture(scope='session')
def plugin(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The CNI plugin, freshly built."""
    folder = tmp_path_factory.mktemp('cni')
    command = ['make', '--quiet', '-C', SOURCES, f'BUILD={folder}']
    subprocess.run(command, check=True)
    return folder / 'kuryr-sriov'


@pytest.fixture(autouse=True)
def clean(cluster: Cluster) -> Iterator[None]:
    """Namespaced objects end with the test that made them."""
    yield
    kinds = 'Deployment', 'NetworkAttachmentDefinition', 'Pod', 'Event'
    for item in cluster.call('GET', PORTS)['items']:
        path = f'{PORTS}/{item["metadata"]["name"]}'
        free = {'metadata': {'finalizers': None}}
        merge = 'application/merge-patch+json'
        cluster.call('PATCH', path, free, Content_Type=merge)
        with contextlib.suppress(ApiError):  # it was being deleted
            cluster.call('DELETE', path)
    for path in (place(kind) for kind in kinds):
        for item in cluster.call('GET', path)['items']:
            name = item['metadata']['name']
            cluster.call('DELETE', f'{path}/{name}?gracePeriodSeconds=0')


@pytest.fixture
def connect(cluster: Cluster) -> Iterator[Connect]:
    """Makes this project's client, with the credentials of a token."""
    with contextlib.ExitStack() as stack:

        def connect(token: str) -> Kubernetes:
            session = KubernetesSession(
                kubeconfig=str(cluster.kubeconfig(token))
            )
            stack.enter_context(contextlib.closing(session))
            return Kubernetes(session)

        yield connect


@pytest.fixture
def controller(connect: Connect) -> Kubernetes:
    return connect('controller')


@pytest.fixture
def node(cluster: Cluster, connect: Connect) -> Kubernetes:
    """The daemon of node1."""
    return connect(cluster.node_token('node1'))


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


@pytest.fixture
def world(cluster: Cluster, tmp_path: pathlib.Path) -> World:
    """A namespace with the how-to's two networks."""
    made = World(cluster, tmp_path)
    for name in ('sriov-net1', 'sriov-net2'):
        made.make_nad(name)
    return made


@pytest.fixture
def make_controller(
    cluster: Cluster, world: World
) -> Iterator[Callable[..., ControllerProcess]]:
    """Makes replicas of the controller, which are not started yet."""
    with contextlib.ExitStack() as stack:

        def make(
            name: str = 'one', configuration: str = LOCAL, **options: float
        ) -> ControllerProcess:
            process = ControllerProcess(
                cluster,
                world.folder,
                name,
                configuration.format(folder=world.folder),
                **options,
            )
            stack.callback(process.close)
            return process

        yield make
    with contextlib.suppress(ApiError):  # nobody has led
        cluster.call('DELETE', LEASE)


@pytest.fixture
def daemon(
    make_controller: Callable[..., ControllerProcess],
) -> ControllerProcess:
    """A controller that works."""
    process = make_controller()
    process.start_leading()
    return process
