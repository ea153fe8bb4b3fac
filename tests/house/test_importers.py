# SPDX-License-Identifier: Apache-2.0
"""Each foreign library has one importer, which maps its errors once."""

import ast
from pathlib import Path

import pytest

import kuryr_sriov

PACKAGE = Path(kuryr_sriov.__file__).parent
IMPORTERS = {
    'google': {'allocations/podresources_messages.py'},
    'grpc': {'allocations/podresources.py', 'testing/simulation/kubelet.py'},
    'keystoneauth1': {'clients/neutron.py'},
    'kubernetes': {'clients/kubernetes/credentials.py'},
    'msgspec': {'codec.py'},
    'openstack': {'clients/neutron.py'},
    'pyroute2': {'host/links.py'},
    'stevedore': {'plugins.py'},
    'urllib3': {'clients/kubernetes/session.py'},
}


def importers(library):
    """Modules that import it, also inside functions."""
    found = set()
    for path in PACKAGE.rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or '']
                if isinstance(node, ast.ImportFrom) and not node.level
                else []
            )
            if any(name.split('.')[0] == library for name in names):
                found.add(str(path.relative_to(PACKAGE)))
    return found


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
        allowed | {'clients/neutron.py'}
    )
