# SPDX-License-Identifier: Apache-2.0
from acme import AcmeDriver

from kuryr_sriov.testing.contracts import binding_contract


class TestAcme(binding_contract.SimulatedBindingContract):
    driver_class = AcmeDriver
