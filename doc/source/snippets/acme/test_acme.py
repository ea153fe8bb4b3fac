# SPDX-License-Identifier: Apache-2.0
"""The Acme driver keeps the contract, on a simulated node."""

from types import SimpleNamespace

import pytest
from acme import AcmeDriver

from kuryr_sriov.testing.binding import SimulatedBindingContract
from kuryr_sriov.testing.node import Nic, Pf

ACME = Nic('1d0f', 'ac00', 'ac01', vf_driver='acmevf')


class TestAcmeDriver(SimulatedBindingContract):
    driver_class = AcmeDriver
    driver_name = 'acmevf'
    functions = (Pf('0000:02:00.0', 'ens6', driver='acme', nic=ACME),)

    @pytest.fixture
    def conf(self):
        return SimpleNamespace(device_timeout=5.0, tagged_mtu=1500)

    @pytest.fixture
    def refused(self):
        return {'mtu': 9000}
