# SPDX-License-Identifier: Apache-2.0
"""The CNI project's own tool drives plugin and daemon, in each version."""

import json

import pytest
from cnispec import check_result
from cnitool import CniTool
from nodedaemon import NETNS, wait_for

VERSIONS = '0.3.1', '0.4.0', '1.0.0', '1.1.0'
CHECKED = VERSIONS[1:]
"""CHECK is part of CNI since 0.4.0."""


@pytest.fixture
def tool(node, tmp_path, cnitool_program, program):
    """For pod 1."""
    return CniTool(
        tmp_path / 'tool',
        cnitool_program,
        program,
        node.run / 'cni.sock',
        'pod1',
        'uid-1',
        NETNS.format(1, 1),
    )


def names(result):
    return [interface['name'] for interface in result['interfaces']]


@pytest.mark.parametrize('version', VERSIONS)
def test_chained_from_add_to_del(node, tool, version):
    node.start()
    before = node.world.node.state()
    _, vifs = node.promised(1)
    tool.chain(version)
    tool.succeed('status')
    result = tool.succeed('add')
    check_result(version, result)
    assert names(result) == ['eth0', 'net1', 'net2']
    addresses = [ip['address'] for ip in result['ips']]
    assert addresses == ['10.1.0.5/16', *(vif.addresses[0] for vif in vifs)]
    if version == '1.1.0':
        vfs = [node.world.vf(pf, 0).pci for pf in (0, 1)]
        assert [i['pciID'] for i in result['interfaces'][1:]] == vfs
    if version in CHECKED:
        tool.succeed('check')
    tool.succeed('del')
    tool.succeed('del')
    assert node.world.node.state() == before


@pytest.mark.parametrize('version', VERSIONS)
def test_chained_a_pod_without_networks_passes(node, tool, version):
    node.start()
    pod, _ = node.schedule(1)
    node.api.delete_pod(pod)
    node.api.add_pod(pod)
    tool.chain(version)
    result = tool.succeed('add')
    check_result(version, result)
    assert names(result) == ['eth0']
    if version in CHECKED:
        tool.succeed('check')
    tool.succeed('del')


@pytest.mark.parametrize('version', VERSIONS)
def test_as_delegate_from_add_to_del(node, tool, version):
    node.start(way='delegate')
    before = node.world.node.state()
    _, vifs = node.promised(1)
    for number, vif in enumerate(vifs):
        device = node.world.vf(number, 0).pci
        plugin = {
            'type': 'kuryr-sriov',
            'deviceID': device,
            'capabilities': {'mac': True, 'ips': True},
        }
        tool.configure(vif.ifname, version, plugin)
        asked = {'mac': vif.mac, 'ips': list(vif.addresses)}
        tool.succeed('status', vif.ifname)
        result = tool.succeed('add', vif.ifname, vif.ifname, asked)
        check_result(version, result)
        assert names(result) == [vif.ifname]
        assert result['interfaces'][0]['mac'] == vif.mac
        if version in CHECKED:
            tool.succeed('check', vif.ifname, vif.ifname)
    for vif in vifs:
        # As Multus may have it by then: nothing but what names the plugin.
        tool.configure(vif.ifname, version, {'type': 'kuryr-sriov'})
        tool.succeed('del', vif.ifname, vif.ifname)
        tool.succeed('del', vif.ifname, vif.ifname)
    assert node.world.node.state() == before


@pytest.mark.parametrize('way', ['chained', 'delegate'])
def test_gc_gives_back_what_nobody_deleted(node, tool, way):
    node.start(way=way)
    before = node.world.node.state()
    pod, _ = node.promised(1)
    if way == 'chained':
        tool.chain('1.1.0')
    else:
        tool.configure('pods', '1.1.0', {'type': 'kuryr-sriov'})
    ifname = 'eth0' if way == 'chained' else 'net1'
    tool.succeed('add', ifname=ifname)
    assert node.world.node.state() != before
    node.api.delete_pod(pod)
    tool.succeed('gc', ifname=ifname)
    assert node.world.node.state() == before


def test_what_is_wrong_is_what_the_runtime_says(node, tool):
    node.start()
    node.promised(1)
    node.world.allocated['uid-1'].clear()
    tool.chain('1.0.0')
    said = tool.fail('add')
    assert 'the kubelet allocated 0 to the pod' in said


def test_check_finds_a_changed_vf(node, tool):
    node.start()
    node.promised(1)
    tool.chain('1.0.0')
    tool.succeed('add')
    node.world.node.rename(node.world.vf(1, 0).pci, 'other')
    assert 'net2' in tool.fail('check')


def test_a_daemon_that_is_away_loses_nothing(node, tool):
    node.start()
    before = node.world.node.state()
    node.promised(1)
    tool.chain('1.1.0')
    tool.succeed('add')
    node.stop()
    for command in ('add', 'check', 'del', 'status'):
        assert 'the node daemon does not run here' in tool.fail(command)
    node.world.node.delete_netns(NETNS.format(1, 1))
    node.start()
    assert node.world.node.state() == before
    tool.succeed('del')


def test_the_device_information_is_where_multus_wants_it(
    node, tool, tmp_path, monkeypatch
):
    folder = tmp_path / 'devinfo'
    monkeypatch.setattr(
        'kuryr_sriov_daemon.node.delegation.FOLDERS', (folder,)
    )
    node.start(way='delegate')
    node.promised(1)
    capabilities = {'CNIDeviceInfoFile': True}
    plugin = {'type': 'kuryr-sriov', 'capabilities': capabilities}
    tool.configure('pods', '1.0.0', plugin)
    file = folder / 'default-pod1-net1'
    asked = {'CNIDeviceInfoFile': str(file)}
    tool.succeed('add', ifname='net1', runtime_config=asked)
    found = json.loads(file.read_text())
    assert found['type'] == 'pci'
    assert found['pci']['pci-address'] == node.world.vf(0, 0).pci
    tool.succeed('del', ifname='net1', runtime_config=asked)
    assert not file.exists()
    elsewhere = tmp_path / 'elsewhere'
    asked = {'CNIDeviceInfoFile': str(elsewhere)}
    assert 'is not in' in tool.fail('add', 'pods', 'net1', asked)
    assert not elsewhere.exists()


def test_pods_wait_for_their_vifs_at_the_same_time(node, tool):
    """An ADD that waits is no obstacle to others."""
    node.start()
    before = node.world.node.state()
    pod, vifs = node.schedule(1)
    tool.chain('1.0.0')
    waiting = node.runtime.send('ADD', 2)
    daemon = node.running[-1][0]
    wait_for(lambda: daemon._server._running)
    node.api.promise(pod, vifs)
    tool.succeed('add')
    tool.succeed('del')
    waiting.close()
    assert node.world.node.state() == before
