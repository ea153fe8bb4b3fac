# SPDX-License-Identifier: Apache-2.0
"""The subnets of the VIF driver ``guest``, where no other describes them."""

import types

import pytest
from guards import guard

from kuryr_sriov import exceptions
from kuryr_sriov.drivers.guest import GuestVIFDriver


@pytest.fixture
def conf(tmp_path):
    return types.SimpleNamespace(subnets_file=str(tmp_path / 'subnets.yaml'))


def test_it_needs_no_file_where_another_driver_describes_subnets(conf):
    driver = GuestVIFDriver(conf)
    with pytest.raises(exceptions.ConfigurationError, match='subnets_file'):
        driver.describe_subnet('subnet-1')
    assert 'subnets.yaml' in GuestVIFDriver.preflight(conf)[0]


def test_it_describes_what_is_in_the_file_and_nothing_else(conf, tmp_path):
    (tmp_path / 'subnets.yaml').write_text(
        'subnets:\n'
        '- {id: subnet-1, network: a, physnet: p, cidr: 10.1.0.0/24}\n'
    )
    driver = guard(GuestVIFDriver(conf), '_read')
    subnet = driver.describe_subnet('subnet-1')
    assert (subnet.network, subnet.physnet) == ('a', 'p')
    with pytest.raises(exceptions.ProviderRefused, match=r'subnet-9.*yaml'):
        driver.describe_subnet('subnet-9')
    assert GuestVIFDriver.preflight(conf) == ()
