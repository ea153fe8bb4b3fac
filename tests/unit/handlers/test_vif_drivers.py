# SPDX-License-Identifier: Apache-2.0
"""Which node has which VIF driver."""

import pytest

from kuryr_sriov.handlers.vif_drivers import VifDrivers

PATTERNS = {'vm-*': 'guest', 'vm-9?': 'never', 'rack2-*': 'other'}


@pytest.mark.parametrize(
    ('node', 'name'),
    [
        ('vm-1', 'guest'),
        ('vm-91', 'guest'),
        ('rack2-7', 'other'),
        ('rack1-7', 'neutron'),
        ('VM-1', 'neutron'),
        ('', 'neutron'),
    ],
)
def test_the_first_pattern_that_fits_counts(node, name):
    drivers = VifDrivers(str, 'neutron', PATTERNS)
    assert drivers.of_node(node) == name


def test_each_driver_is_made_once():
    made = []
    drivers = VifDrivers(
        lambda name: made.append(name) or name,
        'neutron',
        {'a': 'guest', 'b': 'guest', 'c': 'neutron'},
    )
    assert made == ['neutron', 'guest']
    assert drivers.all == ('neutron', 'guest')
    assert drivers.of_node('b') == drivers.of_node('a') == 'guest'
