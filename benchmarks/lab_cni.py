# SPDX-License-Identifier: Apache-2.0
"""The whole ADD and DEL of one VF, as a container runtime sees them.

It starts the CNI plugin, which asks the node daemon by its socket; the
daemon knows pod and VIF already, as it does once its watches have told it.

Milliseconds are those of the machine, emulated here, so ratios are judged:
to sriov-cni, in turns, each on a VF of the same PF, where
``KURYR_SRIOV_PEER`` names a binary of it. It is built apart, and nothing of it
is kept here. They share no VF: it leaves the VF's own MAC pinned on the PF,
which igb does not let a VF change any more.
"""

from __future__ import annotations

import json
import os
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
LIMITS = {'ADD': 0.84, 'DEL': 1.0}
"""How many times as long as sriov-cni each may take."""
OURS, THEIRS = 'kuryr-sriov', 'sriov-cni'
PEER = os.environ.get('KURYR_SRIOV_PEER', '')
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

    def run(self, command: str) -> None:
        """Ask the plugin for it."""
        output = succeed(self._plugin, command, self._netns, CONFIG)
        if command == 'ADD':
            names = [i['name'] for i in json.loads(output)['interfaces']]
            assert names == ['eth0', 'net1'], names

    def close(self) -> None:
        """End the daemon."""
        self._daemon.close()


class PeerBench:
    """sriov-cni with a pod of its own, given the same VLAN."""

    def __init__(self, vf: labnode.VirtualFunction) -> None:
        self._plugin = cnirun.Plugin(Path(PEER), Path('/nowhere'))
        self._netns = labnode.Netns('bench-peer')
        labnode.run('ip', 'netns', 'add', self._netns.name)
        self._config = {
            'cniVersion': '1.0.0',
            'name': 'pods',
            'type': 'sriov',
            'deviceID': vf.pci,
            'vlan': labpods.VLAN,
        }

    def run(self, command: str) -> None:
        """Ask it for it."""
        succeed(self._plugin, command, self._netns, self._config)

    def close(self) -> None:
        """Nothing runs on."""


def succeed(
    plugin: cnirun.Plugin,
    command: str,
    netns: labnode.Netns,
    config: dict[str, Any],
) -> bytes:
    """What a plugin prints."""
    done = plugin.run(
        command,
        config,
        CNI_CONTAINERID=netns.name,
        CNI_NETNS=netns.path,
        CNI_IFNAME='eth0' if config is CONFIG else 'net1',
        CNI_ARGS='IgnoreUnknown=1;K8S_POD_NAMESPACE=default;'
        'K8S_POD_NAME=bench;K8S_POD_UID=uid-bench',
    )
    if done.status:
        raise AssertionError(done.output.decode())
    return bytes(done.output)


def measure(
    pf: labnode.PhysicalFunction,
) -> dict[str, dict[str, dict[str, float]]]:
    """Median and worst milliseconds by contender and command.

    The contenders take turns; each one's first round is left out.
    """
    ours, peers = pf.lend_vfs(2)
    contenders: dict[str, CniBench | PeerBench] = {OURS: CniBench(ours)}
    if PEER:
        contenders[THEIRS] = PeerBench(peers)
    taken: dict[str, dict[str, list[float]]] = {
        name: {command: [] for command in LIMITS} for name in contenders
    }
    for _ in range(ROUNDS + 1):
        for name, contender in contenders.items():
            for command, each in taken[name].items():
                labnode.settle()
                start = time.perf_counter()
                contender.run(command)
                each.append(1000 * (time.perf_counter() - start))
    for contender in contenders.values():
        contender.close()
    return {
        name: {
            command: {
                'median': statistics.median(each[1:]),
                'worst': max(each[1:]),
            }
            for command, each in commands.items()
        }
        for name, commands in taken.items()
    }


def show(found: dict[str, Any]) -> bool:
    """Print the rows; whether each is within its limit."""
    print(f'median and worst of {ROUNDS}, in ms')
    print(f'{"":<8}ratio limit' + ''.join(f'{name:>16}' for name in found))
    good = True
    for command, limit in LIMITS.items():
        rows = [commands[command] for commands in found.values()]
        medians = [row['median'] for row in rows]
        ratio = medians[0] / medians[-1] if THEIRS in found else None
        good &= ratio is None or ratio <= limit
        print(
            f'CNI {command}'
            + (f'{ratio:6.2f}' if ratio else f'{"-":>6}')
            + f'{limit:6.2f}'
            + ''.join(f'{r["median"]:8.1f}{r["worst"]:8.1f}' for r in rows)
        )
    if THEIRS not in found:
        print('no ratio: KURYR_SRIOV_PEER names no binary of sriov-cni')
    return good


def main() -> int:
    """Print the table and write it as JSON; 1 if one is over its limit."""
    lab = labnode.Lab()
    found = measure(lab.pfs[0])
    (lab.results / 'lab_cni.json').write_text(json.dumps(found, indent=1))
    return int(not show(found))


if __name__ == '__main__':
    sys.exit(main())
