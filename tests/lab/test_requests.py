# SPDX-License-Identifier: Apache-2.0
"""What attach and detach ask of the kernel: netlink messages, sysfs writes.

Whoever changes a number here has made every pod's start dearer, or cheaper.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import labnode
import labpods
import pytest
from labnode import Lab, Netns, VirtualFunction
from labpods import KERNEL, USERSPACE, attach, make_vif

from kuryr_sriov.host.linux import NodeHost
from kuryr_sriov.node import Node

# The carrier is asked for until it is there.
UNCOUNTED = 'announce'
COUNTS = {
    KERNEL: (
        {
            **{'get': 2, 'pf': 2, 'set': 2, 'set_vf': 1, 'find': 1},
            **{'add_address': 2, 'add_route': 2},
        },
        {'find': 1, 'pf': 3, 'set': 2, 'set_vf': 2, 'get': 1},
    ),
    USERSPACE: (
        {
            **{'get': 1, 'pf': 2, 'set_vf': 1},
            **{'driver_override': 2, 'unbind': 1, 'bind': 1},
        },
        {
            **{'get': 1, 'pf': 3, 'set_vf': 2, 'set': 1, 'reset': 1},
            **{'driver_override': 2, 'unbind': 1, 'bind': 1},
        },
    ),
}


class Counted:
    """The library on this node, and what it asked of the kernel."""

    def __init__(self, folder: Path) -> None:
        self.host = NodeHost()
        self.node: Node = labpods.start(folder, host=self.host)

    def asked(self) -> dict[str, int]:
        """Since this was called last."""
        counted = self.host.links.requests + self.host.pci.writes
        self.host.links.requests.clear()
        self.host.pci.writes.clear()
        del counted[UNCOUNTED]
        return dict(counted)


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[Counted]:
    counted = Counted(tmp_path)
    yield counted
    counted.node.close()


@contextlib.contextmanager
def udev_waiting() -> Iterator[None]:
    """It deals with new devices afterwards."""
    labnode.run('udevadm', 'control', '--stop-exec-queue')
    try:
        yield
    finally:
        labnode.run('udevadm', 'control', '--start-exec-queue')
        labnode.settle()


@pytest.mark.parametrize('driver', [KERNEL, USERSPACE])
def test_requests_of_attach_and_detach(
    lab: Lab,
    make_vfs: Callable[..., list[VirtualFunction]],
    make_netns: Callable[[], Netns],
    counted: Counted,
    driver: str,
) -> None:
    (vf,) = make_vfs(lab.pfs[0], 1)
    vf.configure('mac', labnode.NO_MAC)  # whatever the VF has told it
    pod = make_netns()
    gateways = ('192.0.2.254', '2001:db8::254')
    vif = make_vif(1, driver, mtu=1450, gateways=gateways)

    attach(counted.node, vf, vif, pod)
    attached = counted.asked()
    with udev_waiting():  # it may name the netdev before us
        counted.node.detach(pod.name)
    detached = counted.asked()

    assert (attached, detached) == COUNTS[driver]
