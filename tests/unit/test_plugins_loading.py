# SPDX-License-Identifier: Apache-2.0
"""A driver is loaded by name, checked, and named when it is to blame."""

import dataclasses
import sys

import pytest

from kuryr_sriov import plugins
from kuryr_sriov.drivers.base import PodSubnetsDriver
from kuryr_sriov.exceptions import PluginError

KIND = plugins.SUBNET_DRIVERS
EMPTY = dataclasses.replace(KIND, group='vendor.no_such_group')
GROUP = KIND.group
CONTRACT = 'kuryr_sriov.drivers.base.PodSubnetsDriver'
GOOD = """
from kuryr_sriov.drivers.base import PodSubnetsDriver

class Driver(PodSubnetsDriver):
    contract = 1

    def get_subnets(self, request):
        return ()
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a distribution with one driver, for this test only."""

    def install(name, source=GOOD, module=None, distribution=None):
        module = module or f'vendor_{name}'
        monkeypatch.delitem(sys.modules, module, raising=False)
        site = tmp_path / (distribution or f'{module}-dist')
        info = site / f'{site.name.replace("-", "_")}-1.2.dist-info'
        info.mkdir(parents=True)
        (info / 'METADATA').write_text(
            f'Metadata-Version: 2.1\nName: {site.name}\nVersion: 1.2\n'
        )
        (info / 'entry_points.txt').write_text(
            f'[{GROUP}]\n{name} = {module}:Driver\n'
        )
        (site / f'{module}.py').write_text(source)
        monkeypatch.syspath_prepend(site)

    yield install
    for module in [name for name in sys.modules if name.startswith('vendor_')]:
        del sys.modules[module]


def refusal(name):
    with pytest.raises(PluginError) as caught:
        plugins.load_plugin(KIND, name)
    return caught.value


def test_a_driver_is_loaded_by_its_name(install):
    install('good')
    driver = plugins.load_plugin(KIND, 'good')
    assert issubclass(driver, PodSubnetsDriver)
    assert driver.__module__ == 'vendor_good'


def test_names_are_listed_without_importing_anything(install):
    install('good')
    install('broken', 'raise RuntimeError')
    assert plugins.list_names(KIND) >= {'good', 'broken'}
    assert plugins.list_installed()[GROUP] == plugins.list_names(KIND)
    assert plugins.list_names(EMPTY) == frozenset()
    assert not {'vendor_good', 'vendor_broken'} & set(sys.modules)


def test_loading_one_driver_imports_no_other(install):
    install('good')
    install('broken', 'raise RuntimeError')
    plugins.load_plugin(KIND, 'good')
    assert 'vendor_broken' not in sys.modules


def test_a_distribution_installed_later_is_found(install):
    install('one')
    plugins.load_plugin(KIND, 'one')
    install('two')
    assert plugins.load_plugin(KIND, 'two')


def test_a_missing_name_lists_what_is_installed(install):
    install('good')
    message = str(refusal('nonexistent'))
    installed = ', '.join(sorted(plugins.list_names(KIND)))
    assert 'good' in installed
    assert message == (
        f"there is no driver 'nonexistent' in {GROUP}; installed: "
        f'{installed}. Install the distribution that brings it, or choose '
        f'another.'
    )


def test_an_empty_group_says_so():
    with pytest.raises(PluginError, match='installed: nothing'):
        plugins.load_plugin(EMPTY, 'x')


def label(name, distribution=None):
    return (
        f"driver '{name}' in {GROUP} (vendor_{name}:Driver, of "
        f'{distribution or f"vendor_{name}-dist"} 1.2)'
    )


@pytest.mark.parametrize(
    ('source', 'reason'),
    [
        (
            'import vendor_that_is_not_there',
            "ModuleNotFoundError: No module named 'vendor_that_is_not_there'",
        ),
        (
            'Other = 1',
            "AttributeError: module 'vendor_bad' has no attribute 'Driver'",
        ),
        ('assert False, "not here"', 'AssertionError: not here'),
    ],
)
def test_a_driver_that_does_not_import(install, source, reason):
    install('bad', source)
    error = refusal('bad')
    assert str(error) == (
        f'{label("bad")} cannot be imported: {reason}; repair or reinstall it.'
    )
    assert reason.startswith(type(error.__cause__).__name__)


@pytest.mark.parametrize(
    ('source', 'reason'),
    [
        ('Driver = 1', f'is not a class; make it a subclass of {CONTRACT}.'),
        (
            'def Driver(conf, describe): pass',
            f'is not a class; make it a subclass of {CONTRACT}.',
        ),
        (
            'class Driver: pass',
            f'is not a subclass of {CONTRACT}; make it one.',
        ),
        (
            'from kuryr_sriov.drivers.base import PodSubnetsDriver as Driver',
            f'lacks what {CONTRACT} requires: get_subnets; implement it.',
        ),
        (
            GOOD.replace('contract = 1', 'options = ()'),
            f'does not state which version of {CONTRACT} it was written for; '
            f'put "contract = 1" into its class body once it passes the suite '
            f'in kuryr_sriov.testing.',
        ),
        (
            GOOD.replace('contract = 1', 'contract = 2'),
            f'was written for version 2 of {CONTRACT}; this release supports '
            f'1. Upgrade kuryr-sriov, or install an older release of its '
            f'distribution.',
        ),
        (
            GOOD.replace('contract = 1', 'contract = 0'),
            f'was written for version 0 of {CONTRACT}; this release supports '
            f'1. Upgrade its distribution, or install an older release of '
            f'kuryr-sriov.',
        ),
    ],
)
def test_a_driver_that_breaks_its_contract(install, source, reason):
    install('bad', source)
    assert str(refusal('bad')) == f'{label("bad")} {reason}'


def test_two_distributions_with_one_name_are_both_named(install):
    install('twin', distribution='acme')
    install('twin', distribution='zenith')
    assert str(refusal('twin')) == (
        f'{label("twin", "acme")} and {label("twin", "zenith")} have the '
        f'same name; uninstall all but one.'
    )
    assert 'vendor_twin' not in sys.modules
