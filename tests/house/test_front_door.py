# SPDX-License-Identifier: Apache-2.0
"""What ``import kuryr_sriov`` offers, and nothing else."""

import importlib
import inspect
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import kuryr_sriov
from kuryr_sriov import controller, exceptions, model, node

KUBERNETES = {
    *('Kubernetes', 'KubernetesSession', 'ObjectCache', 'Change'),
    *('PortObject', 'ReportedAttachment', 'Condition'),
    *('create_event', 'patch_event', 'read_lease', 'write_lease'),
}


HOST_NEEDS = {
    *('Controller', 'Node'),
    *('check_config', 'load_config', 'register_options'),
    *('Event', 'Observer', 'NotRestored', 'Reconciled'),
    *('pod_of', 'entries_of', 'wants_networks', 'wants_vifs'),
    *('NETWORK_STATUS', 'device_info', 'network_status'),
}


def test_it_offers_the_values_the_errors_and_what_a_host_calls():
    values = {
        name
        for module in (exceptions, model)
        for name, thing in vars(module).items()
        if isinstance(thing, type) and thing.__module__ == module.__name__
    }
    assert set(kuryr_sriov.__all__) == values | HOST_NEEDS | KUBERNETES
    assert {*kuryr_sriov.__all__, '__version__'} <= {*dir(kuryr_sriov)}
    assert all(hasattr(kuryr_sriov, name) for name in kuryr_sriov.__all__)
    assert kuryr_sriov.Controller is controller.Controller
    assert kuryr_sriov.Node is node.Node


def public(module):
    """Functions, classes and methods of a module, by name."""
    for name, thing in vars(module).items():
        ours = getattr(thing, '__module__', '') == module.__name__
        if name.startswith('_') or not (ours and callable(thing)):
            continue
        yield f'{module.__name__}.{name}', thing
        for method, value in vars(thing).items():
            value = getattr(value, 'fget', getattr(value, '__func__', value))
            if inspect.isfunction(value) and not method.startswith('_'):
                yield f'{module.__name__}.{name}.{method}', value


def test_all_that_is_public_says_what_it_is():
    """What the page of the API has; mypy sees to its types."""
    page = Path(__file__).parents[2] / 'doc/source/api.rst'
    named = re.findall(r'auto\w+:: (\S+)', page.read_text())
    modules = {name.removesuffix('.Controller') for name in named}
    modules = {name.removesuffix('.Node') for name in modules}
    things = [
        thing
        for name in modules
        for thing in public(importlib.import_module(name))
    ]
    assert len(things) > 100
    assert [name for name, thing in things if not thing.__doc__] == []


def test_it_knows_its_version():
    assert kuryr_sriov.__version__ == metadata.version('kuryr-sriov')


def test_the_nodes_side_loads_nothing_of_the_controllers():
    program = (
        'import sys; from kuryr_sriov import Node, Sandbox, load_config; '
        'print(*sys.modules)'
    )
    loaded = subprocess.run(
        [sys.executable, '-c', program],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert 'kuryr_sriov.node' in loaded
    foreign = 'controller', 'drivers', 'clients', 'handlers.request', 'npwg'
    assert not {
        name
        for name in loaded
        if name.removeprefix('kuryr_sriov.').startswith(foreign)
    }


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(kuryr_sriov, 'Daemon')
