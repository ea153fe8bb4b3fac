# SPDX-License-Identifier: Apache-2.0
"""All that Acme adds keeps its contract."""

import types

import pytest
from acme_crane.binding import CraneDriver
from acme_crane.ports import PortFiles
from acme_crane.subnets import ListedSubnetsDriver

from kuryr_sriov import InvalidAnnotation, PermanentError, ProviderRefused
from kuryr_sriov.testing.contracts import (
    AttachmentHookContract,
    PodSubnetsDriverContract,
    SimulatedBindingContract,
)
from kuryr_sriov.testing.contracts.subnets_contract import network_request
from kuryr_sriov.testing.simulation import Nic, Pf

CRANE = Nic('1d0f', 'c0de', 'c0df', vf_driver='crane_vf')


class TestCrane(SimulatedBindingContract):
    driver_class = CraneDriver
    driver_name = 'crane'
    functions = (Pf('0000:02:00.0', 'ens6', vfs=2, nic=CRANE),)

    @pytest.fixture
    def conf(self):
        return types.SimpleNamespace(
            kernel_driver='crane_vf', max_tx_rate=2500
        )

    def test_no_vf_is_without_a_limit(self, driver, host, attachment):
        driver.connect(attachment)
        assert self.settings(host, attachment.pci).max_tx_rate == 2500


class TestListed(PodSubnetsDriverContract):
    driver_class = ListedSubnetsDriver

    @pytest.fixture
    def conf(self):
        return types.SimpleNamespace(
            subnets={
                'default/one': 'four',
                'default/dual': 'six+four',
                'default/torn': 'four+far',
                'default/typo': 'nowhere',
            }
        )

    @pytest.fixture
    def answers(self):
        return {
            network_request(name='one'): ['four'],
            network_request('far', name='one'): ['four'],
            network_request(name='dual'): ['six', 'four'],
        }

    @pytest.fixture
    def refusals(self):
        return {
            network_request('four', name='unlisted'): InvalidAnnotation,
            network_request(name='torn'): InvalidAnnotation,
            network_request(name='typo'): ProviderRefused,
        }


class TestPortFiles(AttachmentHookContract):
    hook_class = PortFiles

    @pytest.fixture
    def hook_conf(self, tmp_path):
        return types.SimpleNamespace(port_dir=str(tmp_path / 'ports'))

    @pytest.fixture
    def seen(self, tmp_path):
        return lambda: {
            path.name: path.read_text()
            for path in tmp_path.glob('ports/*.json')
        }

    def test_a_folder_that_cannot_be_made_is_named(
        self, host, connected, tmp_path
    ):
        (tmp_path / 'ports').touch()
        conf = types.SimpleNamespace(port_dir=str(tmp_path / 'ports'))
        hook = PortFiles('crane_ports', host, conf)
        with pytest.raises(PermanentError, match=r'see \[acme\] port_dir'):
            hook.run(connected)
