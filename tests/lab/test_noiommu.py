# SPDX-License-Identifier: Apache-2.0
"""VFs without an IOMMU: VFIO in its no-IOMMU mode."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import labpods
import pytest
from labcrash import (
    STEPS,
    Doomed,
    Pod,
    die_everywhere_in_attach,
    die_everywhere_in_detach,
)
from labnode import Lab, Netns, VirtualFunction
from labpods import KERNEL, USERSPACE, attach, make_vif
from labprograms import drive
from vfioprogram import NOIOMMU_IOMMU

from kuryr_sriov import exceptions
from kuryr_sriov.cmd.check.findings import Subject
from kuryr_sriov.cmd.check.vfs import check_userspace
from kuryr_sriov.config import loading
from kuryr_sriov.host.linux import NodeHost
from kuryr_sriov.node import Node

pytestmark = pytest.mark.topology('noiommu')

MakeVfs = Callable[..., list[VirtualFunction]]
MakeNetns = Callable[[], Netns]
ALLOWED = {'allow_unsafe_noiommu': 'true'}


@pytest.fixture
def options() -> dict[str, str]:
    return ALLOWED


@pytest.fixture
def vf(lab: Lab, make_vfs: MakeVfs) -> VirtualFunction:
    return make_vfs(lab.pfs[0], 1)[0]


def test_a_program_drives_its_vf(
    node: Node, vf: VirtualFunction, make_netns: MakeNetns
) -> None:
    before = vf.state()
    assert not (vf.path / 'iommu_group').exists()
    pod = make_netns()

    attached = attach(node, vf, make_vif(1, USERSPACE), pod)

    group = f'/dev/vfio/noiommu-{vf.iommu_group}'
    assert attached.device_info.device_nodes == ('/dev/vfio/vfio', group)
    assert vf.info()['address'] == 'fa:16:3e:00:00:01'
    with drive(vf, group) as told:
        assert told['iommu'] == NOIOMMU_IOMMU
        assert told['device'] == vf.read('device').removeprefix('0x')
        node.check(pod.name)
    node.detach(pod.name)
    assert vf.state() == before
    assert not (vf.path / 'iommu_group').exists()
    assert not Path(group).exists()


def test_it_comes_home_after_a_program_that_was_killed(
    node: Node, vf: VirtualFunction, make_netns: MakeNetns
) -> None:
    before = vf.state()
    pod = make_netns()
    attached = attach(node, vf, make_vif(1, USERSPACE), pod)
    with (
        pytest.raises(KeyboardInterrupt),
        drive(vf, attached.device_info.device_nodes[1]),
    ):
        raise KeyboardInterrupt
    pod.delete()
    node.detach(pod.name)
    assert vf.state() == before
    assert node.ledger.all() == ()


def test_an_interface_needs_no_iommu(
    node: Node, vf: VirtualFunction, make_netns: MakeNetns
) -> None:
    before = vf.state()
    pod = make_netns()
    attach(node, vf, make_vif(1, KERNEL), pod)
    node.check(pod.name)
    node.detach(pod.name)
    assert vf.state() == before


@pytest.mark.parametrize('held', [False, True])
def test_bare_metal_refuses_it_unless_it_is_allowed(
    tmp_path: Path, vf: VirtualFunction, make_netns: MakeNetns, held: bool
) -> None:
    """Also a VF that vfio-pci has since the boot."""
    if held:
        vf.bind('vfio-pci')
    before = vf.state()
    host = NodeHost(is_guest=False)
    with (
        labpods.start(tmp_path, host=host) as node,
        pytest.raises(exceptions.UnsupportedSetting) as caught,
    ):
        attach(node, vf, make_vif(1, USERSPACE), make_netns())
    assert f'{vf.pci} is behind no IOMMU' in str(caught.value)
    assert 'allow_unsafe_noiommu = true' in str(caught.value)
    assert vf.state() == before
    with labpods.start(tmp_path, host=host) as node:
        assert node.ledger.all() == ()


def test_a_vm_allows_it(
    tmp_path: Path, vf: VirtualFunction, make_netns: MakeNetns
) -> None:
    pod = make_netns()
    with labpods.start(tmp_path, host=NodeHost(is_guest=True)) as node:
        attach(node, vf, make_vif(1, USERSPACE), pod)
        node.check(pod.name)
        node.detach(pod.name)


@pytest.mark.parametrize(
    ('allowed', 'line'),
    [
        ('true', 'can reach all memory of this node'),
        ('false', 'this node does not allow it'),
    ],
)
def test_check_says_what_that_means(
    tmp_path: Path, allowed: str, line: str
) -> None:
    labpods.start(tmp_path, {'allow_unsafe_noiommu': allowed}).close()
    conf = loading.load_config(files=[str(tmp_path / 'kuryr.conf')])
    driver, mode = check_userspace(Subject(NodeHost(), conf))
    assert driver.message == 'vfio-pci is loaded'
    assert line in mode.message


@pytest.fixture
def pod(vf: VirtualFunction, make_netns: MakeNetns) -> Pod:
    return Pod(make_netns(), [vf], (USERSPACE,))


def test_killed_in_attach(doomed: Doomed, pod: Pod) -> None:
    die_everywhere_in_attach(doomed, pod)
    assert doomed.seen >= {
        *(*STEPS[:-1], 'set_vf', 'driver_override', 'unbind', 'bind'),
    }


def test_killed_in_detach(doomed: Doomed, pod: Pod) -> None:
    die_everywhere_in_detach(doomed, pod)
    assert doomed.seen >= {
        *('restore', 'set_vf', 'reset', 'unbind', 'bind', 'forget'),
    }
