# SPDX-License-Identifier: Apache-2.0
"""What ``import kuryr_sriov`` offers, and nothing else."""

import importlib
import inspect
import re
from pathlib import Path

import kuryr_sriov
from kuryr_sriov import controller, exceptions, model, node

HOST = {
    *('Controller', 'Node', 'load_config'),
    *('device_info', 'entries_of', 'network_status', 'pod_of'),
    'wants_networks',
}
KUBERNETES = {
    *('Kubernetes', 'KubernetesSession', 'ObjectCache', 'Change'),
    *('PortObject', 'ReportedAttachment', 'Condition'),
    *('create_event', 'patch_event', 'read_lease', 'write_lease'),
}


def test_it_offers_the_values_the_errors_and_what_a_host_needs():
    values = {
        name
        for module in (exceptions, model)
        for name, thing in vars(module).items()
        if isinstance(thing, type) and thing.__module__ == module.__name__
    }
    assert set(kuryr_sriov.__all__) == values | HOST | KUBERNETES
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


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(kuryr_sriov, 'Daemon')
