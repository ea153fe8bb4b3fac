# SPDX-License-Identifier: Apache-2.0
"""Which subnets a network request is on."""

import types

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.drivers import nad

SUBNETS = {
    'four': model.Subnet('four', 'net', 'physnet22', '192.168.2.0/24'),
    'six': model.Subnet('six', 'net', 'physnet22', '2001:db8:2::/64'),
    'again': model.Subnet('again', 'net', 'physnet22', '192.168.9.0/24'),
    'else': model.Subnet('else', 'other', 'physnet22', '2001:db8:3::/64'),
    'wire': model.Subnet('wire', 'far', 'physnet23', '192.168.3.0/24'),
    'cloud': model.Subnet('cloud', 'vxlan', '', '10.0.0.0/24'),
}


def describe(subnet_id):
    if subnet_id not in SUBNETS:
        raise exceptions.ProviderRefused(f'there is no subnet {subnet_id}')
    return SUBNETS[subnet_id]


def driver(**options):
    conf = {
        'default_physnet_subnets': {'physnet22': 'four'},
        'network_physnets': {},
        'physnet_resource_mappings': {},
        'device_plugin_resource_prefix': 'intel.com',
        'resource_driver_mappings': {},
    }
    return nad.NadSubnetsDriver(
        types.SimpleNamespace(**conf | options), describe
    )


def request(*subnet_ids, resource=''):
    return model.NetworkRequest('ns', 'net1', 'net1', subnet_ids, resource)


def refused(request, **options):
    with pytest.raises(exceptions.InvalidAnnotation) as error:
        driver(**options).get_subnets(request)
    assert 'NAD ns/net1' in str(error.value)
    return str(error.value)


def test_the_subnet_of_the_nad():
    assert driver().get_subnets(request('wire')) == (SUBNETS['wire'],)


def test_the_subnet_of_the_nad_before_the_default():
    asked = request('again', resource='intel.com/physnet22')
    assert driver().get_subnets(asked) == (SUBNETS['again'],)


def test_the_default_of_the_physnet_that_the_resource_is_on():
    asked = request(resource='intel.com/fast')
    mappings = {'physnet_resource_mappings': {'physnet22': 'fast'}}
    assert driver(**mappings).get_subnets(asked) == (SUBNETS['four'],)


def test_resource_is_called_like_the_physnet_without_mappings():
    asked = request(resource='intel.com/physnet22')
    assert driver().get_subnets(asked) == (SUBNETS['four'],)


def test_dual_stack():
    found = driver().get_subnets(request('six', 'four'))
    assert [subnet.id for subnet in found] == ['six', 'four']


def test_neither_subnet_nor_resource():
    message = refused(request())
    assert 'neither a subnet nor a resource' in message
    assert 'set subnetId' in message


def test_no_default_for_the_physnet():
    message = refused(request(resource='intel.com/physnet23'))
    assert 'physnet23 of its resource intel.com/physnet23' in message
    assert 'add physnet23:SUBNET to [sriov] default_physnet_sub' in message


def test_unknown_resource():
    options = {'physnet_resource_mappings': {'physnet22': 'fast'}}
    with pytest.raises(exceptions.ConfigurationError, match='slow'):
        driver(**options).get_subnets(request(resource='intel.com/slow'))


def test_two_networks():
    message = refused(request('four', 'else'))
    assert 'four of network net and subnet else of network other' in message


def test_one_ip_version_twice():
    message = refused(request('six', 'four', 'again'))
    assert 'two IPv4 subnets' in message
    assert 'four (192.168.2.0/24) and again (192.168.9.0/24)' in message


def test_resource_on_another_wire_than_the_subnet():
    message = refused(request('wire', resource='intel.com/physnet22'))
    assert 'names resource intel.com/physnet22' in message
    assert 'physnet23, whose resource is intel.com/physnet23' in message


def test_default_subnet_on_another_wire_than_its_physnet():
    defaults = {'default_physnet_subnets': {'physnet22': 'wire'}}
    asked = request(resource='intel.com/physnet22')
    assert 'physnet23' in refused(asked, **defaults)


def test_subnet_without_physnet():
    message = refused(request('cloud'))
    assert 'subnet cloud' in message
    assert 'use a subnet of a provider network' in message


@pytest.mark.parametrize(
    'options',
    [
        {'network_physnets': {'vxlan': 'physnet23'}},
        {'default_physnet_subnets': {'physnet23': 'cloud'}},
    ],
    ids=['of its network', 'of a default'],
)
def test_a_physnet_that_neutron_does_not_tell(options):
    (subnet,) = driver(**options).get_subnets(request('cloud'))
    assert subnet.physnet == 'physnet23'


def test_a_nad_does_not_choose_the_wire_by_naming_a_resource():
    message = refused(request('cloud', resource='intel.com/physnet23'))
    assert 'add vxlan:PHYSNET to [sriov] network_physnets' in message


def test_a_resource_on_another_wire_than_the_configured_one():
    message = refused(
        request('cloud', resource='intel.com/physnet22'),
        network_physnets={'vxlan': 'physnet23'},
    )
    assert 'is on physnet physnet23' in message


def test_unknown_subnet_names_the_nad():
    with pytest.raises(exceptions.ProviderRefused) as error:
        driver().get_subnets(request('nowhere'))
    assert str(error.value) == 'NAD ns/net1: there is no subnet nowhere'
