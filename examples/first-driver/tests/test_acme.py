# SPDX-License-Identifier: Apache-2.0
from acme import AcmeDriver

from kuryr_sriov.testing.contracts import SimulatedBindingContract


class TestAcme(SimulatedBindingContract):
    driver_class = AcmeDriver
