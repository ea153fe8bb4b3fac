# SPDX-License-Identifier: Apache-2.0
"""The VIF driver ``neutron`` keeps the contract."""

import functools

import pytest
from neutronlab.neutron import make_network

from kuryr_sriov.drivers.neutron import NeutronVIFDriver
from kuryr_sriov.testing.contracts.vif_contract import PodVIFDriverContract


class TestNeutron(PodVIFDriverContract):
    driver_class = NeutronVIFDriver

    @pytest.fixture
    def make(self, make):
        """With a user who may read of what physnet a subnet is."""
        return functools.partial(make, user='kuryr-admin')

    @pytest.fixture
    def neighbour(self, make):
        return make(cluster='green')

    @pytest.fixture
    def subnet_ids(self, lab):
        return lab.net22.subnet, lab.net23.subnet

    @pytest.fixture(scope='class')
    def small_subnet(self, lab):
        return make_network(lab.admin, 'physnet23', 9, '10.9.9.0/29').subnet
