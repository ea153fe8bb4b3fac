# SPDX-License-Identifier: Apache-2.0
"""A plugin says for which version of a contract it was written."""

import abc
import inspect
import pkgutil
from importlib.metadata import entry_points

import pytest

from kuryr_sriov import load_config, plugins
from kuryr_sriov.binding.netdevice import NetdeviceDriver

CONTRACT = f'{__name__}.Contract'
KIND = plugins.Kind(
    'vendor.drivers',
    'driver',
    f'{__name__}:Contract',
    'driver',
    'node',
    oldest=2,
    newest=3,
)


class Contract(abc.ABC):
    """A contract that has changed twice: 1 is not supported any more."""

    @abc.abstractmethod
    def connect(self):
        """There from the beginning."""

    def migrate(self):
        """New in 3, with what was done before."""
        return 'as before'


def reason(plugin):
    return plugins.find_breach(plugin, KIND)


def plugin(**body):
    return type('Driver', (Contract,), {'connect': lambda self: None, **body})


@pytest.mark.parametrize('version', [2, 3])
def test_supported_versions_are_loaded(version):
    assert reason(plugin(contract=version)) == ''


def test_a_method_of_a_newer_contract_does_what_was_done_before():
    assert plugin(contract=2)().migrate() == 'as before'


def test_a_plugin_of_a_newer_contract_needs_a_newer_release():
    assert reason(plugin(contract=4)) == (
        f'was written for version 4 of {CONTRACT}; this release supports 2 '
        'to 3. Upgrade kuryr-sriov, or install an older release of its '
        'distribution.'
    )


@pytest.mark.parametrize('version', [1, '3', 2.5, True])
def test_a_plugin_of_an_older_contract_has_to_be_upgraded(version):
    assert reason(plugin(contract=version)) == (
        f'was written for version {version!r} of {CONTRACT}; this release '
        'supports 2 to 3. Upgrade its distribution, or install an older '
        'release of kuryr-sriov.'
    )


def refused(driver):
    found = plugins.find_breach(driver, plugins.BINDING_DRIVERS)
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

    assert not plugins.find_breach(Driver, plugins.BINDING_DRIVERS)


def test_our_own_drivers_are_released_with_the_contract():
    assert not plugins.find_breach(NetdeviceDriver, plugins.BINDING_DRIVERS)


@pytest.mark.parametrize('kind', plugins.KINDS, ids=lambda kind: kind.group)
def test_each_kind_has_a_contract_and_an_option_that_chooses(kind):
    contract = pkgutil.resolve_name(kind.contract)
    assert inspect.isabstract(contract)
    assert 'contract' not in vars(contract)
    assert kind.oldest <= kind.newest
    conf = load_config(files=[])
    chosen = kind.chosen_by(conf.sriov[kind.option])
    assert set(chosen) <= plugins.list_names(kind)
    ours = plugins.OURS.rstrip('.')
    for name in plugins.list_names(kind):
        assert plugins.load_plugin(kind, name).__module__.startswith(ours)


def test_every_entry_point_group_of_ours_is_a_kind():
    groups = entry_points().groups
    found = {group for group in groups if group.startswith('kuryr_sriov.')}
    known = {kind.group for kind in plugins.KINDS}
    assert found <= known
    assert known - found <= {plugins.ATTACHMENT_HOOKS.group}


@pytest.mark.parametrize(
    ('kind', 'value', 'names'),
    [
        (plugins.VIF_DRIVERS, 'neutron', ('neutron',)),
        (plugins.BINDING_DRIVERS, {'a': 'x', 'b': 'y', 'c': 'x'}, ('x', 'y')),
        (plugins.ATTACHMENT_HOOKS, ['b', 'a'], ('b', 'a')),
        (plugins.ALLOCATIONS, True, ('podresources',)),
        (plugins.ALLOCATIONS, False, ('checkpoint',)),
    ],
)
def test_an_options_value_chooses_names(kind, value, names):
    assert kind.chosen_by(value) == names
