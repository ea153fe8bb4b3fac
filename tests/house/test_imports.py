# SPDX-License-Identifier: Apache-2.0
"""Nobody pays for a library that he does not use."""

import subprocess
import sys

import pytest

HEAVY = (
    'google.protobuf',
    'grpc',
    'keystoneauth1',
    'kubernetes',
    'openstack',
    'oslo_config',
    'stevedore',
)

NODE = """
import kuryr_sriov.node
from kuryr_sriov import plugins
from kuryr_sriov.binding.base import BindingDriver
for name in plugins.list_names(plugins.BINDING_DRIVERS):
    plugins.load_plugin(plugins.BINDING_DRIVERS, name)
"""

CONTRACTS = """
import kuryr_sriov.binding.base, kuryr_sriov.drivers.base
"""

CONTROLLER = """
import kuryr_sriov.controller
"""


def loaded(program: str) -> set[str]:
    """Which of the heavy ones a fresh interpreter has after ``program``."""
    program += 'import sys\nprint(*sys.modules)'
    modules = subprocess.run(
        [sys.executable, '-c', program],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    return {
        name
        for name in HEAVY
        if any(m == name or m.startswith(f'{name}.') for m in modules)
    }


@pytest.mark.parametrize(
    ('program', 'expected'),
    [
        (CONTRACTS, set()),
        (NODE, {'oslo_config', 'stevedore'}),
        (CONTROLLER, {'oslo_config', 'stevedore'}),
    ],
    ids=['contracts', 'node', 'controller'],
)
def test_a_root_loads_only_what_it_needs_at_once(program, expected):
    assert loaded(program) == expected
