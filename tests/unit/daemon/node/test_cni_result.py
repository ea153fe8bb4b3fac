# SPDX-License-Identifier: Apache-2.0
"""Results and error objects, as each version of CNI has them."""

import dataclasses

import pytest

from kuryr_sriov import (
    AttachedVif,
    ConfigurationError,
    DeviceBusy,
    DeviceInfo,
    Drifted,
    KuryrSriovError,
    Location,
    NotAllocated,
    PermanentError,
    Route,
    TransientError,
    UnsupportedSetting,
    Vif,
)
from kuryr_sriov_daemon.node.cni_request import VERSIONS, CniError
from kuryr_sriov_daemon.node.cni_result import code_of, result_of

NETNS = '/run/netns/pod1'
VIF = Vif(
    id='port-1',
    ifname='net1',
    network='default/sriov-net1',
    resource='intel.com/physnet22',
    physnet='physnet22',
    mac='fa:16:3e:00:00:01',
    addresses=('192.168.2.7/24', 'fd00::7/64'),
    gateways=('192.168.2.1', 'fd00::1'),
    routes=(Route('10.0.0.0/8', '192.168.2.254'), Route('10.9.0.0/16')),
    dns=('192.168.2.2',),
    mtu=9000,
)
PREVIOUS = {
    'cniVersion': '1.0.0',
    'interfaces': [
        {'name': 'cni0', 'mac': '02:00:00:00:00:01'},
        {'name': 'eth0', 'mac': '02:00:00:00:00:02', 'sandbox': NETNS},
    ],
    'ips': [{'address': '10.1.0.5/16', 'gateway': '10.1.0.1', 'interface': 1}],
    'routes': [{'dst': '0.0.0.0/0'}],
    'dns': {'nameservers': ['10.2.0.10']},
}


def attached(vif=VIF, pci='0000:02:10.0'):
    return AttachedVif(
        vif=vif,
        location=Location('node1', pci, '8086:10ca', vif.physnet),
        device_info=DeviceInfo(pci),
        driver='netdevice',
    )


def test_a_delegates_result_is_all_ours():
    assert result_of('1.1.0', [attached()], NETNS) == {
        'cniVersion': '1.1.0',
        'interfaces': [
            {
                'name': 'net1',
                'mac': 'fa:16:3e:00:00:01',
                'mtu': 9000,
                'sandbox': NETNS,
                'pciID': '0000:02:10.0',
            }
        ],
        'ips': [
            {
                'address': '192.168.2.7/24',
                'gateway': '192.168.2.1',
                'interface': 0,
            },
            {'address': 'fd00::7/64', 'gateway': 'fd00::1', 'interface': 0},
        ],
        'routes': [
            {'dst': '10.0.0.0/8', 'gw': '192.168.2.254'},
            {'dst': '10.9.0.0/16'},
            {'dst': '0.0.0.0/0', 'gw': '192.168.2.1'},
            {'dst': '::/0', 'gw': 'fd00::1'},
        ],
        'dns': {'nameservers': ['192.168.2.2']},
    }


def test_a_chained_result_is_the_previous_one_and_ours():
    second = dataclasses.replace(
        VIF, ifname='net2', addresses=('192.168.3.9/24',), gateways=()
    )
    both = [attached(), attached(second, '0000:02:10.1')]
    result = result_of('1.1.0', both, NETNS, PREVIOUS)
    assert result['cniVersion'] == '1.1.0'
    assert result['interfaces'][:2] == PREVIOUS['interfaces']
    names = [interface['name'] for interface in result['interfaces']]
    assert names == ['cni0', 'eth0', 'net1', 'net2']
    assert result['ips'][:1] == PREVIOUS['ips']
    indexes = {ip['address']: ip['interface'] for ip in result['ips']}
    assert indexes == {
        '10.1.0.5/16': 1,
        '192.168.2.7/24': 2,
        'fd00::7/64': 2,
        '192.168.3.9/24': 3,
    }
    for key in ('routes', 'dns'):
        assert result[key] == PREVIOUS[key]


@pytest.mark.parametrize(
    'previous',
    [PREVIOUS, {}, {'cniVersion': '1.0.0', 'x': 1}, {'ips': []}],
)
def test_without_vfs_the_previous_result_stays(previous):
    result = result_of('1.0.0', [], NETNS, previous)
    assert result == {**previous, 'cniVersion': '1.0.0'}


@pytest.mark.parametrize('version', VERSIONS)
def test_each_version_has_its_own_fields(version):
    result = result_of(version, [attached()], NETNS)
    interface, ip = result['interfaces'][0], result['ips'][0]
    assert ('pciID' in interface) == (version == '1.1.0')
    assert ('mtu' in interface) == (version == '1.1.0')
    assert ('version' in ip) == (version in ('0.3.1', '0.4.0'))
    if 'version' in ip:
        assert [ip['version'] for ip in result['ips']] == ['4', '6']


def test_a_gateway_is_said_with_the_address_that_reaches_it():
    vif = dataclasses.replace(VIF, gateways=('172.16.0.1',))
    result = result_of('1.0.0', [attached(vif)], NETNS)
    assert all('gateway' not in ip for ip in result['ips'])


@pytest.mark.parametrize(
    ('error', 'code'),
    [
        (TransientError('x'), 11),
        (DeviceBusy('x'), 11),
        (ConfigurationError(['x']), 7),
        (NotAllocated('x'), 102),
        (UnsupportedSetting('x', 'vlan'), 104),
        (Drifted('x'), 106),
        (PermanentError('x'), 100),
        (KuryrSriovError('x'), 100),
        (CniError(4, 'x'), 4),
    ],
)
def test_each_kind_of_error_has_its_code(error, code):
    assert code_of(error) == code
