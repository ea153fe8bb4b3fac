# SPDX-License-Identifier: Apache-2.0
"""The VIF driver ``local`` keeps the contract."""

import types

import pytest

from kuryr_sriov.drivers.local import LocalVIFDriver
from kuryr_sriov.testing.vif import PodVIFDriverContract

SUBNETS = """
subnets:
- {id: a, network: a, physnet: physnet22, cidr: 10.1.0.0/24, vlan: 1}
- {id: b, network: b, physnet: physnet23, cidr: 10.2.0.0/24, mtu: 9000}
- {id: small, network: c, physnet: physnet23, cidr: 10.3.0.0/30, vlan: 3}
"""


class TestLocal(PodVIFDriverContract):
    driver_class = LocalVIFDriver

    @pytest.fixture
    def make_conf(self, tmp_path):
        file = tmp_path / 'subnets.yaml'
        file.write_text(SUBNETS)

        def conf(database='local.sqlite', grace=300.0):
            return types.SimpleNamespace(
                subnets_file=str(file),
                database=str(tmp_path / database),
                database_timeout=10.0,
                orphan_grace_period=grace,
            )

        return conf

    @pytest.fixture
    def conf(self, make_conf):
        return make_conf()

    @pytest.fixture
    def subnet_ids(self):
        return 'a', 'b'

    @pytest.fixture
    def small_subnet(self):
        return 'small'

    @pytest.fixture
    def impatient(self, make_conf):
        return LocalVIFDriver(make_conf(grace=0.0))

    @pytest.fixture
    def neighbour(self, make_conf):
        return LocalVIFDriver(make_conf('neighbour.sqlite'))
