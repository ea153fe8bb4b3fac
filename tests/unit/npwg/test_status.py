# SPDX-License-Identifier: Apache-2.0
"""network-status and device-info are as the NPWG wrote them down."""

from kuryr_sriov import model
from kuryr_sriov.npwg.status import device_info, network_status

FULL = model.AttachedVif(
    vif=model.Vif(
        id='port-1',
        ifname='net1',
        network='default/sriov-net1',
        resource='intel.com/physnet22',
        physnet='physnet22',
        mac='fa:16:3e:00:00:01',
        addresses=('192.168.2.7/24', 'fd00::7/64'),
        gateways=('192.168.2.1',),
        dns=('192.168.2.2',),
        mtu=9000,
    ),
    location=model.Location('node1', '0000:02:10.0', '8086:10ca', 'p22'),
    device_info=model.DeviceInfo(
        pci='0000:02:10.0',
        pf_pci='0000:02:00.0',
        rdma_device='mlx5_2',
        device_nodes=('/dev/vfio/17',),
    ),
    driver='netdevice',
)
BARE = model.AttachedVif(
    vif=model.Vif('port-2', 'net2', 'default/b', 'i.c/b', 'b', ''),
    location=FULL.location,
    device_info=model.DeviceInfo('0000:02:10.1'),
    driver='vfio-pci',
)


def test_network_status():
    assert network_status([FULL, BARE]) == [
        {
            'name': 'default/sriov-net1',
            'interface': 'net1',
            'ips': ['192.168.2.7', 'fd00::7'],
            'mac': 'fa:16:3e:00:00:01',
            'mtu': 9000,
            'dns': {'nameservers': ['192.168.2.2']},
            'gateway': ['192.168.2.1'],
            'device-info': {
                'type': 'pci',
                'version': '1.1.0',
                'pci': {
                    'pci-address': '0000:02:10.0',
                    'pf-pci-address': '0000:02:00.0',
                    'rdma-device': 'mlx5_2',
                },
            },
        },
        {
            'name': 'default/b',
            'interface': 'net2',
            'device-info': device_info(BARE.device_info),
        },
    ]


def test_device_info_leaves_out_what_is_not_there():
    assert device_info(model.DeviceInfo('0000:02:10.1')) == {
        'type': 'pci',
        'version': '1.1.0',
        'pci': {'pci-address': '0000:02:10.1'},
    }


def test_no_interfaces_no_status():
    assert network_status([]) == []
