# SPDX-License-Identifier: Apache-2.0
"""Each foreign library has one importer, which maps its errors once."""

import ast
import sys
from pathlib import Path

import pytest

import kuryr_sriov

PACKAGE = Path(kuryr_sriov.__file__).parent
IMPORTERS = {
    'google': {'allocations/podresources_messages.py'},
    'grpc': {'allocations/podresources.py', 'testing/simulation/kubelet.py'},
    'keystoneauth1': {'clients/neutron_session.py'},
    'kubernetes': {'clients/kubernetes/credentials.py'},
    'msgspec': {'codec.py'},
    'openstack': {'clients/neutron_session.py'},
    'stevedore': {'plugins.py'},
    'yaml': {'config/yaml_file.py'},
    'urllib3': {'clients/kubernetes/session.py'},
}


def names_of_imports(path):
    """All that a module imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ''


def importers(library):
    """Modules that import it."""
    return {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob('*.py')
        if any(
            name.split('.')[0] == library for name in names_of_imports(path)
        )
    }


def imported():
    """Top names of all that any module imports and Python does not bring."""
    names = {
        name.split('.')[0]
        for path in PACKAGE.rglob('*.py')
        for name in names_of_imports(path)
    }
    return names - sys.stdlib_module_names - {'', 'kuryr_sriov'}


def test_every_foreign_library_is_listed():
    everywhere = {'oslo_config', 'pytest'}
    assert imported() == {*IMPORTERS, *everywhere}


@pytest.mark.parametrize('library', IMPORTERS)
def test_a_foreign_library_has_one_importer(library):
    assert importers(library) == IMPORTERS[library]


def test_only_config_and_options_of_drivers_know_oslo_config():
    allowed = {
        'config/loading.py',
        'config/misspellings.py',
        'config/options.py',
    }
    found = importers('oslo_config')
    assert {path for path in found if not path.startswith('drivers/')} <= (
        allowed | {'clients/neutron_session.py'}
    )
