# SPDX-License-Identifier: Apache-2.0
"""All VFs of the node attached, and detached, by threads at once.

Beside it stands the floor: the same by raw requests, by as many threads. The
kernel serves them one after another, under its one lock (RTNL).
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / 'tests/lab'))

import labnode
import labpods
from lab_floor import Netdevice, Target

from kuryr_sriov import model
from kuryr_sriov.binding.netdevice import NetdeviceDriver
from kuryr_sriov.host.linux import NodeHost

THREADS = 16
LIMITS = {'attach': 6.0, 'detach': 3.0}
"""Seconds that all VFs at once may take."""


def make_target(
    host: NodeHost,
    vf: labnode.VirtualFunction,
    original: model.VfState,
    vif: model.Vif,
    netns: labnode.Netns,
) -> Target:
    """What the floor attaches, all of it known beforehand."""
    return Target(
        pci=vf.pci,
        pf=host.pci.ifindex(vf.pf.pci),
        vf=vf.index,
        original=original,
        vif=vif,
        netns=netns.path,
    )


def measure(lab: labnode.Lab) -> dict[str, Any]:
    """Seconds to attach and to detach every VF of the node by threads."""
    vfs = [vf for pf in lab.pfs for vf in pf.lend_vfs(pf.usual_vfs)]
    pods = [labnode.Netns(f'pod{number}') for number, _ in enumerate(vfs)]
    for pod in pods:
        labnode.run('ip', 'netns', 'add', pod.name)
    vifs = [labpods.make_vif(number) for number, _ in enumerate(vfs, 1)]
    floors = make_floors(vfs, vifs, pods)
    with (
        labpods.start(Path(tempfile.mkdtemp())) as node,
        ThreadPoolExecutor(THREADS) as threads,
    ):
        count = len(vfs)

        def run(work: Callable[..., Any], *lists: Iterable[Any]) -> float:
            start = time.monotonic()
            list(threads.map(work, *lists))
            return time.monotonic() - start

        floor_attach = run(Netdevice.attach, floors)
        floor_detach = run(Netdevice.detach, floors)
        labnode.settle()
        attach = run(labpods.attach, [node] * count, vfs, vifs, pods)
        detach = run(node.detach, [pod.name for pod in pods])
    return {
        'vfs': count,
        'threads': THREADS,
        'attach': {'ours': attach, 'floor': floor_attach},
        'detach': {'ours': detach, 'floor': floor_detach},
    }


def make_floors(
    vfs: Sequence[labnode.VirtualFunction],
    vifs: Sequence[model.Vif],
    pods: Sequence[labnode.Netns],
) -> list[Netdevice]:
    """The same by raw requests, for each VF; all of them written."""
    host = NodeHost()
    binding = NetdeviceDriver(labpods.KERNEL, host, labpods.Conf())
    floors = []
    for vf, vif, pod in zip(vfs, vifs, pods, strict=True):
        index = host.pci.wait_netdev(vf.pci, 30).ifindex
        original = binding.snapshot(vf.pci)
        floor = Netdevice(make_target(host, vf, original, vif, pod))
        floor.prepare(index)
        floors.append(floor)
    return floors


def show(found: dict[str, Any]) -> bool:
    """Print the rows; whether both are within their limits."""
    print(
        f'\n{found["vfs"]} VFs by {found["threads"]} threads, in s: ours, '
        'floor, limit'
    )
    good = True
    for operation, limit in LIMITS.items():
        ours, floor = found[operation]['ours'], found[operation]['floor']
        print(f'{operation:<18}{ours:8.2f}{floor:8.2f}{limit:8.1f}')
        good &= ours <= limit
    return good
