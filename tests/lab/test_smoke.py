# SPDX-License-Identifier: Apache-2.0
"""The lab is what it promises to be: real VFs, drivers, groups, wires."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import labnode
from labnode import Lab, Netns, VirtualFunction

MakeVfs = Callable[..., list[VirtualFunction]]
MakeNetns = Callable[[], Netns]


def settings(vf: VirtualFunction) -> dict[str, object]:
    # the address is a new random one whenever the driver is bound
    return {**vf.info(), 'address': None, 'ifname': vf.ifname}


def test_vfs_appear_each_with_driver_name_and_group(lab: Lab) -> None:
    pf = lab.pfs[0]

    vfs = pf.make_vfs(pf.usual_vfs)

    assert len(list(pf.path.glob('virtfn*'))) == pf.usual_vfs
    assert {vf.driver for vf in vfs} == {labnode.VF_DRIVER}
    assert len({vf.ifname for vf in vfs}) == len(vfs)
    assert len({vf.iommu_group for vf in vfs}) == len(vfs)


def test_a_used_vf_is_lent_as_if_made_anew(
    lab: Lab, make_vfs: MakeVfs, make_netns: MakeNetns
) -> None:
    vfs = make_vfs(lab.pfs[0], 2)
    before = [settings(vf) for vf in vfs]
    vfs[0].configure('mac', '02:00:00:00:00:09')
    vfs[0].configure('vlan', '7', 'qos', '3')
    vfs[0].configure('spoofchk', 'off', 'trust', 'on', 'rate', '100')
    make_netns().take(vfs[0], 'net1')
    vfs[1].bind('vfio-pci')

    again = make_vfs(lab.pfs[0], 2)

    assert [vf.driver for vf in again] == [labnode.VF_DRIVER] * 2
    assert [settings(vf) for vf in again] == before
    mac = '02:00:00:00:00:0a'
    labnode.run('ip', 'link', 'set', again[0].ifname, 'address', mac)


def test_a_vf_goes_to_vfio_pci_and_back(lab: Lab, make_vfs: MakeVfs) -> None:
    vf = make_vfs(lab.pfs[0], 1)[0]

    vf.bind('vfio-pci')
    assert vf.netdev is None
    node = Path('/dev/vfio', vf.iommu_group)
    labnode.wait_for(str(node), node.exists)

    vf.bind(labnode.VF_DRIVER)
    assert vf.ifname
    assert not node.exists()


def test_two_pods_on_one_pf_reach_each_other_on_one_vlan_only(
    lab: Lab, make_vfs: MakeVfs, make_netns: MakeNetns
) -> None:
    vfs = make_vfs(lab.pfs[0], 2)
    pods = [make_netns(), make_netns()]
    for number, (vf, pod) in enumerate(zip(vfs, pods, strict=True), start=1):
        mac = f'02:00:00:00:00:0{number}'
        labnode.run('ip', 'link', 'set', vf.ifname, 'address', mac)
        vf.configure('mac', mac)
        vf.configure('vlan', '100')
        pod.take(vf, 'net1', f'192.0.2.{number}/24', f'2001:db8::{number}/64')
        assert pod.link('net1')['address'] == mac
        assert vf.info()['address'] == mac

    assert pods[0].reaches('192.0.2.2')
    assert pods[0].reaches('2001:db8::2')

    vfs[1].configure('vlan', '200')
    assert not pods[0].reaches('192.0.2.2', tries=2)

    vfs[1].configure('vlan', '100')
    assert pods[0].reaches('192.0.2.2')


def test_pods_on_two_pfs_reach_each_other_on_one_wire_only(
    lab: Lab, make_vfs: MakeVfs, make_netns: MakeNetns
) -> None:
    first = lab.pfs[0]
    same = next(pf for pf in lab.on_wire(first.wire) if pf is not first)
    other = next(pf for pf in lab.pfs if pf.wire != first.wire)
    pods = []
    for number, pf in enumerate((first, same, other), start=1):
        vf = make_vfs(pf, 1)[0]
        pods.append(make_netns())
        pods[-1].take(vf, 'net1', f'192.0.2.{number}/24')

    assert pods[0].reaches('192.0.2.2')
    assert not pods[0].reaches('192.0.2.3', tries=2)
