# SPDX-License-Identifier: Apache-2.0
"""A plugin says for which version of a contract it was written."""

import abc

import pytest

from kuryr_sriov import plugins
from kuryr_sriov.binding.base import BindingDriver
from kuryr_sriov.binding.netdevice import NetdeviceDriver

GROUP = plugins.BINDING_DRIVERS
CONTRACT = f'{__name__}.Contract'


class Contract(abc.ABC):
    """A contract that has changed twice: 1 is not supported any more."""

    contract = 3

    @abc.abstractmethod
    def connect(self):
        """There from the beginning."""

    def migrate(self):
        """New in 3, with what was done before."""
        return 'as before'


@pytest.fixture
def reason(monkeypatch):
    monkeypatch.setitem(plugins.OLDEST, GROUP, 2)
    return lambda plugin: plugins.broken(plugin, Contract, GROUP)


def plugin(**body):
    return type('Driver', (Contract,), {'connect': lambda self: None, **body})


@pytest.mark.parametrize('version', [2, 3])
def test_supported_versions_are_loaded(reason, version):
    assert reason(plugin(contract=version)) == ''


def test_a_method_of_a_newer_contract_does_what_was_done_before():
    assert plugin(contract=2)().migrate() == 'as before'


def test_a_plugin_of_a_newer_contract_needs_a_newer_release(reason):
    assert reason(plugin(contract=4)) == (
        f'was written for version 4 of {CONTRACT}; this release supports 2 '
        'to 3. Upgrade kuryr-sriov, or install an older release of its '
        'distribution.'
    )


@pytest.mark.parametrize('version', [1, '3', 2.5, True])
def test_a_plugin_of_an_older_contract_has_to_be_upgraded(reason, version):
    assert reason(plugin(contract=version)) == (
        f'was written for version {version!r} of {CONTRACT}; this release '
        'supports 2 to 3. Upgrade its distribution, or install an older '
        'release of kuryr-sriov.'
    )


def refused(driver):
    found = plugins.broken(driver, BindingDriver, GROUP)
    return found.startswith('does not state which version of kuryr_sriov.')


def test_inherited_from_us_a_version_is_no_statement():
    class Driver(NetdeviceDriver):
        pass

    assert refused(Driver)


def test_inherited_from_the_vendors_own_base_it_is_one():
    class Base(NetdeviceDriver):
        contract = 1

    class Driver(Base):
        pass

    assert not plugins.broken(Driver, BindingDriver, GROUP)


def test_our_own_drivers_are_released_with_the_contract():
    assert not plugins.broken(NetdeviceDriver, BindingDriver, GROUP)
