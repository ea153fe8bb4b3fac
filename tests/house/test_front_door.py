# SPDX-License-Identifier: Apache-2.0
"""What ``import kuryr_sriov`` offers, and nothing else."""

import kuryr_sriov
from kuryr_sriov import controller, exceptions, model, node


def test_it_offers_the_values_the_errors_and_the_two_roots():
    values = {
        name
        for module in (exceptions, model)
        for name, thing in vars(module).items()
        if isinstance(thing, type) and thing.__module__ == module.__name__
    }
    assert set(kuryr_sriov.__all__) == values | {'Controller', 'Node'}
    assert kuryr_sriov.Controller is controller.Controller
    assert kuryr_sriov.Node is node.Node


def test_each_public_name_says_what_it_is():
    undocumented = [
        name
        for name in kuryr_sriov.__all__
        if not getattr(kuryr_sriov, name).__doc__
    ]
    assert not undocumented


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(kuryr_sriov, 'Daemon')
