# SPDX-License-Identifier: Apache-2.0
"""A real Neutron beside the API server; every test leaves no port in it."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from daemons import World
from kubelab.cluster import Cluster
from kubelab.controllers import ControllerProcess
from neutronlab.kuryr import write_conf
from neutronlab.lab import Lab

from kuryr_sriov import Kubernetes

CONF = """
[sriov]
vif_driver = neutron
default_physnet_subnets = physnet22:{first},physnet23:{second}
resource_driver_mappings = physnet22:vfio-pci,physnet23:netdevice
orphan_grace = 0
"""

Start = Callable[..., ControllerProcess]


def pytest_configure(config: pytest.Config) -> None:
    # openstacksdk warns of what it does itself whenever it is configured
    for kind in ('DeprecationWarning', 'PendingDeprecationWarning'):
        config.addinivalue_line('filterwarnings', f'ignore::{kind}')


@pytest.fixture(scope='session')
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp('neutron')) as running:
        yield running


@pytest.fixture(autouse=True)
def clean_cloud(lab: Lab) -> Iterator[None]:
    """Faults, ports and VFs in use end with the test that made them."""
    yield
    lab.clear()


@pytest.fixture
def world(cluster: Cluster, lab: Lab, tmp_path: pathlib.Path) -> World:
    """The how-to's two networks, as Neutron has them."""
    made = World(cluster, tmp_path)
    made.make_nad('sriov-net1', lab.net22.subnet)
    made.make_nad('sriov-net2', lab.net23.subnet)
    return made


@pytest.fixture
def start(lab: Lab, make_controller: Start, tmp_path: pathlib.Path) -> Start:
    """Starts replicas with the documented user's credentials."""

    def make(name: str, more: str = '', **neutron: Any) -> ControllerProcess:
        path = tmp_path / 'neutron.conf'
        write_conf(lab, path, **neutron)
        text = CONF.format(first=lab.net22.subnet, second=lab.net23.subnet)
        process = make_controller(name, text + path.read_text() + more)
        process.start()
        return process

    return make


@pytest.fixture
def node(cluster: Cluster, connect: Any) -> Kubernetes:
    """``node-1``, where Neutron has an agent."""
    return connect(cluster.node_token('node-1'))
