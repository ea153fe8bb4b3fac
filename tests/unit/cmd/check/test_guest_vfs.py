# SPDX-License-Identifier: Apache-2.0
"""``kuryr-sriov check`` shows which port each VF of a VM is."""

import pytest
from guestworld import ENS6, ENS7, ENS8, GuestWorld
from metadata import NETWORK_A, NETWORK_B, NETWORK_C, PORTS
from worlds import World

from kuryr_sriov.cmd.check.findings import Subject, check_in_order
from kuryr_sriov.cmd.check.preflight import CHECKS
from kuryr_sriov.config import loading

ON = 'node_vif_drivers = vm-*:guest'


@pytest.fixture
def results(tmp_path):
    """What the check finds in a world, as status and message."""

    def find(world):
        world.start().close()  # writes kuryr.conf
        conf = loading.load_config(files=[str(tmp_path / 'kuryr.conf')])
        subject = Subject(world.node.host, conf)
        return [
            (finding.result.status, finding.result.message)
            for finding in check_in_order(CHECKS, subject)
            if finding.check == 'guest VFs'
        ]

    return find


def test_each_vf_is_shown_with_its_port_and_network(tmp_path, results):
    guest = GuestWorld(tmp_path, more=ON)
    mac = guest.macs
    assert results(guest) == [
        ('ok', f'{guest.drive} tells of ports: 4'),
        (
            'ok',
            f'VF {ENS6} ({mac[ENS6]}) is port {PORTS[0]} on network '
            f'{NETWORK_A}, 192.168.2.7/24, fd00:2::7/64, MTU 1450',
        ),
        (
            'ok',
            f'VF {ENS7} ({mac[ENS7]}) is port {PORTS[1]} on network '
            f'{NETWORK_B}, 192.168.3.7/24, MTU 1400',
        ),
        (
            'ok',
            f'VF {ENS8} ({mac[ENS8]}) is port {PORTS[2]} on network '
            f'{NETWORK_A}, 192.168.2.8/24, MTU 1450',
        ),
    ]


def test_a_vf_that_a_pod_has_is_shown_by_its_record(tmp_path, results):
    guest = GuestWorld(tmp_path, more=ON)
    before = results(guest)
    sandbox = guest.sandbox(1, guest.vf(ENS6))
    with guest.start() as node:
        node.attach(sandbox, [guest.promise()])
    assert guest.node.state()[ENS6].netns == sandbox.netns
    assert results(guest) == before


def test_what_a_vf_lacks_is_told(tmp_path, results):
    guest = GuestWorld(tmp_path, more=ON)
    guest.tell('fa:16:3e:0:0:1', '', '', guest.macs[ENS7])
    _, six, seven, eight = results(guest)
    assert six[0] == seven[0] == eight[0] == 'warning'
    assert guest.macs[ENS6] in six[1]
    assert 'which no port in the metadata' in six[1]
    assert f'{PORTS[3]} on network {NETWORK_C}' in seven[1]
    assert 'ipv4_dhcp' in seven[1]


def test_a_vf_without_interface_is_told(tmp_path, results):
    guest = GuestWorld(tmp_path, vf_driver='vfio-pci', more=ON)
    _, six, *_ = results(guest)
    assert six == (
        'warning',
        f'VF {ENS6} has no network interface, so that nobody knows which port '
        'it is.',
    )


def test_metadata_that_cannot_be_read_fails(tmp_path, results):
    guest = GuestWorld(tmp_path, more=ON)
    (guest.drive / 'openstack/latest/network_data.json').unlink()
    ((status, message),) = results(guest)
    assert status == 'failed'
    assert 'instance_metadata' in message


def test_others_read_no_metadata(tmp_path, results):
    (tmp_path / 'a').mkdir()
    assert results(GuestWorld(tmp_path)) == [
        ('ok', 'no node has the VIF driver guest')
    ]


def test_bare_metal_reads_no_metadata(tmp_path, results):
    world = World(tmp_path)
    world.text += ON + '\n'
    assert results(world) == [('ok', 'this node is no virtual machine')]
