# SPDX-License-Identifier: Apache-2.0
"""Requests to the kernel's RDMA netlink, and its answers, in bytes."""

import errno
import os
import struct

import pytest

from kuryr_sriov import exceptions
from kuryr_sriov.host import netlink_socket, rdma_netlink

NETNS = '/proc/self/ns/net'


class Kernel:
    """Answers, and keeps what it was asked."""

    def __init__(self, monkeypatch):
        self.asked = []
        self.answers = []
        self.error = 0
        monkeypatch.setattr(netlink_socket, 'exchange', self.exchange)

    def exchange(self, netns, message, protocol):
        assert protocol == rdma_netlink.NETLINK_RDMA
        _, kind, flags, _, _ = struct.unpack_from('=IHHII', message)
        read = rdma_netlink.read_attributes(message)
        self.asked.append((netns, kind, flags, read))
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        return self.answers


@pytest.fixture
def kernel(monkeypatch):
    return Kernel(monkeypatch)


@pytest.fixture
def devices():
    return rdma_netlink.RdmaDevices()


def described(index, name):
    return rdma_netlink.make_message(
        rdma_netlink.GET,
        0,
        {
            rdma_netlink.DEV_INDEX: struct.pack('=I', index),
            rdma_netlink.DEV_NAME: name.encode() + b'\0',
        },
    )


@pytest.mark.parametrize(
    ('mode', 'exclusive'), [(b'\0', True), (b'\1', False)]
)
def test_the_mode_is_read(kernel, devices, mode, exclusive):
    kernel.answers = [
        rdma_netlink.make_message(
            rdma_netlink.GET_SYSTEM, 0, {rdma_netlink.NETNS_MODE: mode}
        )
    ]
    assert devices.is_exclusive() is exclusive
    ((netns, kind, flags, _),) = kernel.asked
    assert (netns, kind, flags) == ('', 0x1406, netlink_socket.REQUEST)


def test_without_rdma_in_the_kernel_nothing_is_exclusive(kernel, devices):
    kernel.error = errno.EPROTONOSUPPORT
    assert not devices.is_exclusive()


def test_any_other_error_is_told(kernel, devices):
    kernel.error = errno.EPERM
    with pytest.raises(exceptions.KernelError, match='RDMA mode'):
        devices.is_exclusive()


def test_a_device_is_found_by_its_name(kernel, devices):
    kernel.answers = [described(3, 'mlx5_10'), described(4, 'mlx5_1')]
    assert devices.find_rdma('mlx5_1', NETNS) == 4
    assert devices.find_rdma('mlx5_2', NETNS) is None
    netns, kind, flags, _ = kernel.asked[0]
    assert (netns, kind) == (NETNS, 0x1401)
    assert flags == netlink_socket.REQUEST | netlink_socket.DUMP


def test_a_move_names_the_namespace_by_a_descriptor(kernel, devices):
    devices.move_rdma(4, '', NETNS)
    ((netns, kind, _, read),) = kernel.asked
    assert (netns, kind) == ('', 0x1402)
    assert read[rdma_netlink.DEV_INDEX] == struct.pack('=I', 4)
    assert len(read[rdma_netlink.NET_NS_FD]) == 4
    assert devices.requests == {'move_rdma': 1}


def test_a_move_is_not_sent_again_when_the_kernel_is_busy(kernel, devices):
    kernel.error = errno.EBUSY
    with pytest.raises(exceptions.DeviceBusy):
        devices.move_rdma(4, '', NETNS)
    assert len(kernel.asked) == 1


def test_a_name_ends_with_a_zero(kernel, devices):
    devices.rename_rdma(4, 'mlx5_1')
    ((_, kind, _, read),) = kernel.asked
    assert kind == 0x1402
    assert read[rdma_netlink.DEV_NAME] == b'mlx5_1\0'
