# SPDX-License-Identifier: Apache-2.0
"""The VIF driver ``guest`` keeps the contract of those that promise."""

import types

import pytest
from test_vif_contract import SUBNETS

from kuryr_sriov.drivers.guest import GuestVIFDriver
from kuryr_sriov.testing.contracts.promise_contract import PromiseContract


class TestGuest(PromiseContract):
    driver_class = GuestVIFDriver

    @pytest.fixture
    def conf(self, tmp_path):
        file = tmp_path / 'subnets.yaml'
        file.write_text(SUBNETS)
        return types.SimpleNamespace(subnets_file=str(file))
