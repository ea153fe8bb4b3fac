# SPDX-License-Identifier: Apache-2.0
"""What has the index of a function's interface need not be it."""

import dataclasses
import errno

import pytest

from kuryr_sriov import exceptions
from kuryr_sriov.binding.vf.interfaces import get_link
from kuryr_sriov.testing.simulation.simulated_node import Pf, SimulatedNode


@pytest.fixture
def node(tmp_path):
    return SimulatedNode(tmp_path, [Pf('0000:02:00.0', 'ens6', vfs=2)])


def test_its_own(node):
    vf = node.host.pci.device(node.vfs('0000:02:00.0')[0])
    assert get_link(node.host, vf).pci == vf.pci


@pytest.mark.parametrize('there_is_another', [False, True])
def test_a_sys_of_another_namespace_is_told(node, there_is_another):
    vf, other = map(node.host.pci.device, node.vfs('0000:02:00.0'))
    index = other.ifindex if there_is_another else 999
    with pytest.raises(exceptions.KernelError) as raised:
        get_link(node.host, dataclasses.replace(vf, ifindex=index))
    assert raised.value.errno == errno.ENODEV
    assert 'is not in this network namespace' in str(raised.value)
    assert 'run in the host network' in str(raised.value)


def test_what_else_the_kernel_refuses_is_told_as_it_is(node):
    vf = node.host.pci.device(node.vfs('0000:02:00.0')[0])
    node.fail('get', errno.EPERM)
    with pytest.raises(exceptions.KernelError) as raised:
        get_link(node.host, vf)
    assert raised.value.errno == errno.EPERM
