# SPDX-License-Identifier: Apache-2.0
"""The subnet driver ``nad`` keeps the contract."""

import types

import pytest

from kuryr_sriov.drivers.nad import NadSubnetsDriver
from kuryr_sriov.testing.contracts.subnets_contract import (
    PodSubnetsDriverContract,
)


class TestNad(PodSubnetsDriverContract):
    driver_class = NadSubnetsDriver

    @pytest.fixture
    def conf(self):
        return types.SimpleNamespace(
            default_physnet_subnets={},
            physnet_resource_mappings={},
            device_plugin_resource_prefix='intel.com',
            resource_driver_mappings={},
        )
