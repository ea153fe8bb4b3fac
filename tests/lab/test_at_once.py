# SPDX-License-Identifier: Apache-2.0
"""All VFs of the node, by many threads at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from labnode import Lab, Netns, VirtualFunction
from labpods import KERNEL, USERSPACE, attach, make_vif

from kuryr_sriov.node import Node

THREADS = 16


def test_28_vfs_by_16_threads(
    lab: Lab,
    make_vfs: Callable[..., list[VirtualFunction]],
    make_netns: Callable[[], Netns],
    node: Node,
) -> None:
    vfs = [vf for pf in lab.pfs for vf in make_vfs(pf)]
    assert len(vfs) == 28
    pods = [make_netns() for _ in vfs]
    vifs = [
        make_vif(number, KERNEL if number % 4 else USERSPACE)
        for number, _ in enumerate(vfs, 1)
    ]
    before = lab.state()

    with ThreadPoolExecutor(THREADS) as threads:
        start = time.monotonic()
        list(threads.map(attach, [node] * 28, vfs, vifs, pods))
        attached = time.monotonic()
        list(threads.map(node.check, [pod.name for pod in pods]))
        macs = {vf['address'] for pf in lab.pfs for vf in pf.infos()}
        assert macs == {vif.mac for vif in vifs}
        checked = time.monotonic()
        list(threads.map(node.detach, [pod.name for pod in pods]))
    print(
        f'28 VFs attached in {attached - start:.1f} s, '
        f'detached in {time.monotonic() - checked:.1f} s'
    )
    assert lab.state() == before
    assert node.ledger.all() == ()
