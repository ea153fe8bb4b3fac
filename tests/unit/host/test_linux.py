# SPDX-License-Identifier: Apache-2.0
"""The running node, as binding drivers reach it."""

import pathlib

from kuryr_sriov.host.linux import NodeHost


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
