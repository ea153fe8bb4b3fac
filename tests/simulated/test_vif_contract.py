# SPDX-License-Identifier: Apache-2.0
"""The VIF driver ``local`` keeps the contract."""

import types

import pytest

from kuryr_sriov.drivers.local import LocalVIFDriver
from kuryr_sriov.testing.contracts.vif_contract import PodVIFDriverContract

SUBNETS = """
subnets:
- {id: subnet-1, network: a, physnet: a, cidr: 10.1.0.0/24, vlan: 1}
- {id: subnet-2, network: b, physnet: b, cidr: 10.2.0.0/24, mtu: 9000}
- {id: subnet-3, network: c, physnet: b, cidr: 10.3.0.0/30, vlan: 3}
"""


class TestLocal(PodVIFDriverContract):
    driver_class = LocalVIFDriver

    @pytest.fixture
    def make_conf(self, tmp_path):
        file = tmp_path / 'subnets.yaml'
        file.write_text(SUBNETS)
        return lambda database='ours': types.SimpleNamespace(
            subnets_file=str(file),
            database=str(tmp_path / database),
            database_timeout=10.0,
        )

    @pytest.fixture
    def conf(self, make_conf):
        return make_conf()

    @pytest.fixture
    def neighbour(self, make_conf):
        return self.driver_class(make_conf('theirs'))
