# SPDX-License-Identifier: Apache-2.0
"""``kuryr-sriov inventory`` shows what is there, and changes nothing."""

import dataclasses
import errno
import json

import pytest

from kuryr_sriov import model
from kuryr_sriov.cmd.inventory import entries, survey, table
from kuryr_sriov.cmd.inventory.entries import Function, Inventory, Owner
from kuryr_sriov.cmd.main import main
from kuryr_sriov.config import loading
from kuryr_sriov.host import ledger_reader
from kuryr_sriov.node import Node
from kuryr_sriov.testing.simulation.simulated_node import (
    NO_MAC,
    Pf,
    SimulatedNode,
    Vf,
)

PF = '0000:02:00.0'
NETNS = '/run/netns/pod'
POD = model.Pod('default', 'nginx', 'uid-1')
VIF = model.Vif(
    id='port',
    ifname='net1',
    network='default/sriov-net1',
    resource='intel.com/p22',
    physnet='p22',
    mac='fa:16:3e:00:00:01',
    vlan=3501,
)
OTHER = dataclasses.replace(
    VIF, ifname='net2', resource='intel.com/p23', mac='fa:16:3e:00:00:02'
)


@pytest.fixture
def node(tmp_path):
    return SimulatedNode(
        tmp_path / 'node',
        [
            Pf(PF, 'ens6', vfs=3, total_vfs=7),
            Pf('0000:03:00.0', 'ens8', vfs=0, total_vfs=63, numa_node=-1),
            Vf('0000:09:00.0', 'eth4', numa_node=1),
        ],
    )


@pytest.fixture
def conf(tmp_path):
    file = tmp_path / 'kuryr.conf'
    file.write_text(
        '[sriov]\n'
        'vif_driver = local\n'
        f'state_dir = {tmp_path / "state"}\n'
        'resource_driver_mappings = p22:vfio-pci,p23:netdevice\n'
    )
    return loading.load_config(files=[str(file)])


@pytest.fixture
def attached(node, conf):
    """One VF in userspace and one in a pod, both on record."""
    devices = [
        model.Device(vif.resource, pci)
        for vif, pci in zip((VIF, OTHER), node.vfs(PF), strict=False)
    ]
    sandbox = model.Sandbox('c1', node.add_netns(NETNS), POD)
    with Node(conf, host=node.host) as daemon:
        daemon.attach(sandbox, (VIF, OTHER), devices)


def take(node, conf, unread=()):
    return survey.take_inventory(
        node.host, ledger_reader.read_attachments(conf.sriov.state_dir), unread
    )


def text(node, conf):
    return list(table.lines(take(node, conf), '/'))


def test_pfs_with_their_vfs_and_owners(node, conf, attached):
    first, second, third = node.vfs(PF)
    assert text(node, conf) == [
        f'PF {PF}  ens6, igb, 8086:10c9, NUMA node 0, 3 of 7 VFs',
        '  VF  ADDRESS       DRIVER    NETDEV    GROUP  VLAN  MAC',
        f'   0  {first}  vfio-pci  -             2  3501  {VIF.mac}',
        '      -> net1 of pod default/nginx',
        f'   1  {second}  igbvf     (in pod)      3  3501  {OTHER.mac}',
        '      -> net2 of pod default/nginx',
        f'   2  {third}  igbvf     ens6v2        4     -  02:00:00:00:00:05',
        '',
        'PF 0000:03:00.0  ens8, igb, 8086:10c9, 0 of 63 VFs',
        '',
        'Without a PF here (plain NICs, or VFs given to this VM):',
        '  ADDRESS       DRIVER  NETDEV  GROUP  NUMA  MAC',
        '  0000:09:00.0  iavf    eth4        6     1  02:00:00:00:00:08',
    ]


def test_what_is_not_known_is_a_dash():
    bare = model.PciDevice('0000:05:00.0', '8086', '10c9', pf='0000:04:00.0')
    long = Owner(
        *('a-long-namespace', 'a-pod-with-a-name-that-is-long-too', 'uid'),
        *('net1', 'c1', NETNS),
        done=True,
        alive=False,
    )
    pf = model.PciDevice('0000:04:00.0', '8086', '10c9')
    found = Inventory(
        pfs=(entries.Pf(pf, 1, 7, (Function(bare, owner=long),)),),
        others=(Function(model.PciDevice('0000:09:00.0', '8086', '1889')),),
        unread=('One thing could not be read: ' + 'because ' * 8 + '.', 'Two'),
    )
    assert list(table.lines(found, '/')) == [
        'PF 0000:04:00.0  no netdev, no driver, 8086:10c9, 1 of 7 VFs',
        '  VF  ADDRESS       DRIVER  NETDEV  GROUP  VLAN  MAC',
        '   -  0000:05:00.0  -       -           -     -  -',
        '      -> net1 of pod a-long-namespace/'
        'a-pod-with-a-name-that-is-long-too, whose',
        '         netns is gone',
        '',
        'Without a PF here (plain NICs, or VFs given to this VM):',
        '  ADDRESS       DRIVER  NETDEV  GROUP  NUMA  MAC',
        '  0000:09:00.0  -       -           -     -  -',
        '',
        'Could not be read:',
        '- One thing could not be read: because because because because '
        'because because',
        '  because because .',
        '- Two',
    ]


def test_each_line_fits_80_columns(node, conf, attached):
    assert max(map(len, text(node, conf))) <= 80


def test_a_netns_that_is_gone_shows(node, conf, attached):
    node.delete_netns(NETNS)
    shown = '\n'.join(text(node, conf))
    assert 'net1 of pod default/nginx, whose netns is gone' in shown


def test_an_attach_that_was_not_completed_shows(node, conf, attached):
    with Node(conf, host=node.host) as daemon:
        (record, _) = daemon.ledger.all()
        daemon.ledger.save([dataclasses.replace(record, done=False)])
    shown = '\n'.join(text(node, conf))
    assert 'net1 of pod default/nginx, not complete' in shown


def test_an_interface_in_an_unknown_netns_is_away(node, conf):
    device = node.host.pci.device(node.vfs(PF)[0])
    node.host.links.set(device.ifindex, to=node.add_netns(NETNS))
    (pf, _) = take(node, conf).pfs
    assert pf.vfs[0].away
    assert any('(away)' in line for line in text(node, conf))


def test_functions_without_driver_are_listed(node, conf):
    vf = node.vfs(PF)[0]
    node.host.pci.bind(vf, '', 1)
    node.unload('iavf')
    shown = text(node, conf)
    assert f'   0  {vf}  -       -           2     -  {NO_MAC}' in shown[2]
    assert shown[-1] == '  0000:09:00.0  -       -           6     1  -'


def test_a_noiommu_group_is_named_like_its_device_node(tmp_path, conf):
    node = SimulatedNode(
        tmp_path / 'vm',
        [Vf('0000:09:00.0', 'eth4', vf_driver='vfio-pci')],
        iommu='noiommu',
    )
    assert 'noiommu-1' in text(node, conf)[-1]


def test_vf_settings_that_cannot_be_read_are_said(node, conf):
    node.fail('pf', errno.EPERM)
    found = take(node, conf)
    assert [vf.settings for vf in found.pfs[0].vfs] == [None] * 3
    (sentence,) = found.unread
    assert sentence.startswith(f'VLAN and MAC of VFs of {PF}: ')
    shown = list(table.lines(found, '/'))
    start = shown.index('Could not be read:') + 1
    assert ' '.join(line[2:] for line in shown[start:]) == sentence


def test_an_interface_that_is_not_the_one_in_sysfs_is_not_asked(node, conf):
    """Sysfs of the host, netlink of a container."""
    index = node.host.pci.device(PF).ifindex
    node.host.links.set(index, to=node.add_netns('/run/netns/host'))
    node.add_interface('ens6', index=index)
    shown = node.host.pci.root / 'sys/bus/pci/devices' / PF / 'net/ens6'
    shown.mkdir()
    (shown / 'ifindex').write_text(f'{index}\n')
    found = take(node, conf)
    (sentence,) = found.unread
    assert "not in this process's network namespace" in sentence
    assert [vf.settings for vf in found.pfs[0].vfs] == [None] * 3


def test_an_interface_that_vanished_meanwhile_has_no_mac(node, conf):
    node.fail('get', errno.ENODEV, pci='0000:09:00.0')
    (other,) = take(node, conf).others
    assert (other.device.ifname, other.mac) == ('eth4', '')


def command(tmp_path, *arguments):
    return [
        'inventory',
        '--config-file',
        str(tmp_path / 'kuryr.conf'),
        '--root',
        str(tmp_path / 'node'),
        *arguments,
    ]


def test_json_has_the_fields_as_keys(node, conf, attached, tmp_path, capsys):
    assert main(command(tmp_path, '--json')) == 0
    printed = json.loads(capsys.readouterr().out)
    assert list(printed) == ['pfs', 'others', 'unread']
    pf = printed['pfs'][0]
    assert list(pf) == ['device', 'num_vfs', 'total_vfs', 'vfs']
    assert (pf['num_vfs'], pf['total_vfs']) == (3, 7)
    vf = pf['vfs'][0]
    assert list(vf) == ['device', 'away', 'mac', 'settings', 'owner']
    assert vf['device']['driver'] == 'vfio-pci'
    assert vf['owner'] == {
        'namespace': 'default',
        'pod': 'nginx',
        'uid': 'uid-1',
        'ifname': 'net1',
        'container_id': 'c1',
        'netns': NETNS,
        'done': True,
        'alive': False,  # the simulated node's, of which Linux knows nothing
    }


def test_it_makes_neither_ledger_nor_state_dir(node, conf, tmp_path, capsys):
    assert main(command(tmp_path)) == 0
    assert 'PF 0000:02:00.0' in capsys.readouterr().out
    assert not (tmp_path / 'state').exists()


def test_it_works_without_kuryr_conf(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('HOME', str(tmp_path))
    assert main(['inventory', '--root', str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith('There is no PCI network function under')
    assert str(tmp_path) in shown


def test_a_node_without_sriov_is_told_so(tmp_path, conf):
    node = SimulatedNode(tmp_path / 'vm', [Vf('0000:09:00.0', 'eth4')])
    assert text(node, conf)[0].startswith('No network function of this node')


def test_a_ledger_that_cannot_be_read_hides_no_vf(
    node, conf, tmp_path, capsys
):
    (tmp_path / 'state').mkdir()
    (tmp_path / 'state/ledger.sqlite').write_text('no database' * 100)
    assert main(command(tmp_path)) == 0
    shown = capsys.readouterr().out
    assert node.vfs(PF)[0] in shown
    assert 'Who has which VF:' in shown
