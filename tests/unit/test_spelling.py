# SPDX-License-Identifier: Apache-2.0
"""Names that were probably meant."""

import pytest

from kuryr_sriov.spelling import most_alike, most_similar


@pytest.mark.parametrize(
    ('name', 'meant'),
    [
        ('subnetid', 'subnetId'),
        ('subnet_id', 'subnetId'),
        ('subnetIds', 'subnetId'),
        ('mtu', 'mtu'),
        ('vlan', ''),
        ('', ''),
    ],
)
def test_a_name_is_taken_for_the_one_it_is_like(name, meant):
    assert most_similar(name, ['subnetId', 'mtu']) == meant


def test_a_host_with_its_domain_is_most_like_the_one_without():
    hosts = ['node-dead', 'node-2', 'NODE-1', 'other']
    assert most_alike('node-1.cloud.example', hosts) == [
        'NODE-1',
        'node-dead',
        'node-2',
    ]
