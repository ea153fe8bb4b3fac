# SPDX-License-Identifier: Apache-2.0
"""The Acme driver keeps the contract, on a simulated node."""

from types import SimpleNamespace

import pytest
from acme import AcmeDriver

from kuryr_sriov.testing.binding import BindingDriverContract
from kuryr_sriov.testing.node import Nic, Pf, SimulatedNode

PF = '0000:02:00.0'
ACME = Nic('1d0f', 'ac00', 'ac01', vf_driver='acmevf')


class TestAcmeDriver(BindingDriverContract):
    driver_class = AcmeDriver
    driver_name = 'acmevf'

    @pytest.fixture
    def conf(self):
        return SimpleNamespace(device_timeout=5.0, tagged_mtu=1500)

    @pytest.fixture
    def node(self, tmp_path):
        return SimulatedNode(
            tmp_path, [Pf(PF, 'ens6', vfs=2, driver='acme', nic=ACME)]
        )

    @pytest.fixture
    def host(self, node):
        return node.host

    @pytest.fixture
    def pci(self, node):
        return node.vfs(PF)[0]

    @pytest.fixture
    def netns(self, node):
        return node.add_netns('/run/netns/pod')

    @pytest.fixture
    def delete_netns(self, node):
        return node.delete_netns

    @pytest.fixture
    def driver_override(self, node):
        return lambda pci: node.state()[pci].driver_override

    @pytest.fixture
    def refused(self):
        return {'mtu': 9000}
