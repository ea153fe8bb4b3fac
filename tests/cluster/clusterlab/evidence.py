# SPDX-License-Identifier: Apache-2.0
"""What a person wants to read after a failure, in one folder."""

from __future__ import annotations

import json
import pathlib
import shutil
from collections.abc import Callable

from .cluster import Cluster
from .product import NAMESPACE, NODE_DAEMON

LOGS = 'containerd', 'kubelet', 'device-plugin'
PLANE = 'kube-controller-manager', 'kube-scheduler', 'kube-apiserver'


def collect(cluster: Cluster, folder: pathlib.Path) -> None:
    """Fill the folder; what cannot be had says why in its place."""
    folder.mkdir(parents=True, exist_ok=True)
    plane, machine = cluster.plane, cluster.machine

    def keep(name: str, ask: Callable[[], str]) -> None:
        try:
            text = ask()
        except Exception as error:
            text = f'{type(error).__name__}: {error}\n'
        (folder / name).write_text(text)

    keep('events.txt', lambda: plane.run('get', 'events', '-A'))
    kinds = 'pods,kuryrsriovports,network-attachment-definitions,nodes'
    keep('objects.txt', lambda: plane.run('get', kinds, '-A', '-o', 'wide'))
    keep('objects.yaml', lambda: plane.run('get', kinds, '-A', '-o', 'yaml'))
    for name in ('controller', 'node'):
        logs = f'/var/log/pods/kuryr-sriov_kuryr-sriov-{name}-*/*/*.log'
        keep(f'{name}.log', lambda logs=logs: machine.shell(f'cat {logs}'))
    for name in LOGS:
        log = f'/var/log/{name}.log'
        keep(f'{name}.log', lambda log=log: machine.run('cat', log))
    for name in PLANE:
        log = cluster.folder / f'{name}.log'
        keep(f'{name}.log', lambda log=log: log.read_text())
    keep('links.txt', lambda: machine.run('ip', '-details', 'link'))
    keep('cni.txt', lambda: machine.shell('head -v -n -0 /etc/cni/net.d/*'))
    keep('node.json', lambda: json.dumps(cluster.traces.state(), indent=1))
    keep('ledger.json', lambda: json.dumps(cluster.traces.records(), indent=1))
    keep('dmesg.txt', lambda: machine.run('dmesg'))
    keep(
        'ports.json',
        lambda: json.dumps([each.to_dict() for each in cluster.ports()]),
    )
    keep('stories.txt', lambda: tell_stories(cluster))
    shutil.copy(cluster.cloud.neutron.server.log, folder / 'neutron.log')


def tell_stories(cluster: Cluster) -> str:
    """``kuryr-sriov pod`` of each pod with networks."""
    stories = []
    for port in cluster.port_objects():
        name = f'{port["metadata"]["namespace"]}/{port["spec"]["podName"]}'
        words = 'exec', '-n', NAMESPACE, NODE_DAEMON, '--'
        try:
            story = cluster.plane.run(*words, 'kuryr-sriov', 'pod', name)
            stories.append(story)
        except Exception as error:  # its status is 1 if anything is wrong
            stories.append(str(error))
    return '\n\n'.join(stories)
