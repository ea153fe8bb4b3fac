# SPDX-License-Identifier: Apache-2.0
"""The running node, as binding drivers reach it."""

import pathlib

import pytest

from kuryr_sriov.host.linux import NodeHost, is_virtual


def test_it_is_the_running_kernel():
    host = NodeHost()
    assert host.links.get(1).name == 'lo'
    assert isinstance(host.pci.functions.list_all(), list)


def test_its_boot_is_the_kernels():
    path = pathlib.Path('/proc/sys/kernel/random/boot_id')
    assert NodeHost().boot_id() == path.read_text().strip()


def test_a_container_sees_it_elsewhere(tmp_path):
    folder = tmp_path / 'proc/sys/kernel/random'
    folder.mkdir(parents=True)
    (folder / 'boot_id').write_text('b9de76b7\n')
    host = NodeHost(tmp_path)
    assert host.boot_id() == 'b9de76b7'
    assert host.pci.functions.list_all() == []


@pytest.mark.parametrize(
    ('cpuinfo', 'virtual'),
    [
        ('flags : fpu hypervisor lahf_lm\n', True),
        ('processor : 0\nflags : fpu\nflags : hypervisor\n', False),
        ('model name : hypervisor\nflags : fpu vmx\n', False),
        ('bugs : hypervisor\n', False),
        (None, False),
    ],
)
def test_a_virtual_machine_is_known_by_its_first_cpu(
    tmp_path, cpuinfo, virtual
):
    (tmp_path / 'proc').mkdir()
    if cpuinfo is not None:
        (tmp_path / 'proc/cpuinfo').write_text(cpuinfo)
    assert is_virtual(tmp_path) is virtual
    assert NodeHost(tmp_path).is_guest is virtual
    assert NodeHost(tmp_path, is_guest=not virtual).is_guest is not virtual


def test_a_virtual_machine_is_known_by_its_devicetree(tmp_path):
    (tmp_path / 'proc/device-tree/hypervisor').mkdir(parents=True)
    assert is_virtual(tmp_path)
