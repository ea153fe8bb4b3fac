# SPDX-License-Identifier: Apache-2.0
"""The whole ADD and DEL of one VF, as a container runtime sees them.

It starts the CNI plugin, which asks the node daemon by its socket; the
daemon knows pod and VIF already, as it does once its watches have told it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / 'tests/lab'))
sys.path.insert(0, str(Path(__file__).parents[1] / 'tests/cni'))
sys.path.insert(0, str(Path(__file__).parents[1] / 'tests/simulated'))

import cnirun
import labnode
import labpods
from nodedaemon import PREVIOUS, NodeWithDaemon

from kuryr_sriov import model
from kuryr_sriov.host.linux import NodeHost

ROUNDS = 20
LIMIT = 130.0
"""Milliseconds of an ADD. One of sriov-cni, measured apart, took 154."""
CONFIG = {
    'cniVersion': '1.0.0',
    'name': 'pods',
    'type': 'kuryr-sriov',
    'prevResult': PREVIOUS,
}


class CniBench:
    """A node daemon on this machine, with one pod that comes and goes."""

    def __init__(self, vf: labnode.VirtualFunction) -> None:
        folder = Path(tempfile.mkdtemp())
        build = folder / 'build'
        subprocess.run(
            ['make', '-s', '-C', cnirun.SOURCES, f'BUILD={build}'], check=True
        )
        resource = f'intel.com/{labpods.KERNEL}'
        device = model.Device(resource, vf.pci)
        world = types.SimpleNamespace(
            path=folder,
            text='[sriov]\nresource_driver_mappings = netdevice:netdevice\n',
            node=types.SimpleNamespace(host=NodeHost()),
            allocations=lambda pod: [device],
        )
        self._daemon = NodeWithDaemon(world)
        self._daemon.start()
        self._netns = labnode.Netns('bench-cni')
        labnode.run('ip', 'netns', 'add', self._netns.name)
        pod = model.Pod('default', 'bench', 'uid-bench', 'node1')
        self._daemon.api.add_pod(pod, 'lab')
        self._daemon.api.promise(pod, [labpods.make_vif(1, mtu=1450)])
        socket = self._daemon.run / 'cni.sock'
        self._plugin = cnirun.Plugin(build / 'kuryr-sriov', socket)

    def run(self, command: str) -> float:
        """Milliseconds from the plugin's start to its end."""
        start = time.perf_counter()
        done = self._plugin.run(
            command,
            CONFIG,
            CNI_CONTAINERID=self._netns.name,
            CNI_NETNS=self._netns.path,
            CNI_ARGS='IgnoreUnknown=1;K8S_POD_NAMESPACE=default;'
            'K8S_POD_NAME=bench;K8S_POD_UID=uid-bench',
        )
        taken = 1000 * (time.perf_counter() - start)
        if done.status:
            raise AssertionError(done.output.decode())
        if command == 'ADD':
            names = [i['name'] for i in json.loads(done.output)['interfaces']]
            assert names == ['eth0', 'net1'], names
        return taken

    def close(self) -> None:
        """End the daemon."""
        self._daemon.close()


def measure(vf: labnode.VirtualFunction) -> dict[str, dict[str, float]]:
    """Median and worst milliseconds of each; the first one is left out."""
    bench = CniBench(vf)
    taken: dict[str, list[float]] = {'ADD': [], 'DEL': []}
    for _ in range(ROUNDS + 1):
        for command, each in taken.items():
            labnode.settle()
            each.append(bench.run(command))
    bench.close()
    return {
        command: {
            'median': statistics.median(each[1:]),
            'worst': max(each[1:]),
        }
        for command, each in taken.items()
    }


def show(found: dict[str, Any]) -> bool:
    """Print the rows; whether an ADD is within its limit."""
    print('\nplugin and daemon, in ms: median, worst, limit')
    for command, figures in found.items():
        limit = f'{LIMIT:8.1f}' if command == 'ADD' else ''
        print(
            f'CNI {command:<14}{figures["median"]:8.1f}'
            f'{figures["worst"]:8.1f}{limit}'
        )
    return bool(found['ADD']['median'] <= LIMIT)


if __name__ == '__main__':
    found = measure(labnode.Lab().pfs[0].lend_vfs(1)[0])
    sys.exit(not show(found))
