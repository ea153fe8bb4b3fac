# SPDX-License-Identifier: Apache-2.0
"""The node: containerd, kubelet and device plugin on the lab's machine."""

from __future__ import annotations

import json
import pathlib
import signal
import sys
from collections.abc import Mapping
from typing import Any

from kubelab.cluster import ApiError
from kubelab.install import ensure_runtime_installed
from servers import Running

from . import page
from .controlplane import NODE, OUTSIDE, ControlPlane
from .machine import Machine
from .nodefiles import BRIDGE, CONTAINERD, KUBELET, NETWORK, SERVICES, SOCKET
from .patience import wait_until
from .traces import Traces

FRUGAL = {'GOMAXPROCS': '2', 'GOGC': '400'}
"""For programs in Go: most of an emulated processor goes into looking for
work, and for garbage."""

CA = '/etc/kubernetes/ca.crt'
CONFLIST = '/etc/cni/net.d/10-primary.conflist'
CNI_PLUGINS = 'bridge', 'host-local', 'loopback'
DEVICE_PLUGIN = pathlib.Path(__file__).with_name('deviceplugin.py')
METAPLUGIN = pathlib.Path(__file__).with_name('metaplugin.py')


class Node(Running):
    """The cluster's node.

    :ivar machine: what it runs on.
    :ivar traces: what pods may leave on it.
    """

    def __init__(self, machine: Machine, plane: ControlPlane) -> None:
        self.machine = machine
        self._plane = plane
        self._runtime = ensure_runtime_installed()
        self._boot_id = ''
        self.traces = Traces(machine)

    def start(self) -> None:
        """Boot it; return when it is Ready."""
        self.machine.start()
        boot_id = self.machine.run('cat', '/proc/sys/kernel/random/boot_id')
        self._boot_id = boot_id.strip()
        self._configure()
        self.make_vfs()
        self.traces.remember()
        self.start_containerd()
        self.start_kubelet()
        self.start_device_plugin()
        self.wait_ready()

    def stop(self) -> None:
        """Cut the power. Idempotent."""
        self.machine.stop()

    def reboot(self) -> None:
        """Shut it down in order, and start it again."""
        self.machine.shut_down()
        self.start()

    def cut_power(self) -> None:
        """Let it lose what it has not written, and start it again."""
        self.machine.stop()
        self.start()

    def _configure(self) -> None:
        """What is in place on a node before its services start."""
        machine, plane = self.machine, self._plane
        config = plane.api.kubeconfig('kubelet').read_text()
        config = config.replace(plane.api.url, plane.outside)
        config = config.replace(str(plane.api.ca), CA)
        machine.write('/etc/kubernetes/kubelet.kubeconfig', config)
        machine.write(CA, plane.api.ca.read_text())
        machine.write('/etc/kubernetes/kubelet.yaml', json.dumps(KUBELET))
        machine.write('/etc/containerd/config.toml', CONTAINERD)
        port = plane.outside.rpartition(':')[2]
        rules = SERVICES.format(address=f'{OUTSIDE}:{port}')
        machine.write('/etc/nftables.conf', rules)
        plugins = ' '.join(str(self._runtime / name) for name in CNI_PLUGINS)
        machine.shell(
            f"""
            mount --make-rshared /
            mkdir -p /etc/kubernetes/manifests /dev/hugepages
            sysctl -qw net.ipv4.ip_forward=1
            nft -f /etc/nftables.conf
            cp --update {plugins} /opt/cni/bin
            """
        )
        # what others made of it outlives a reboot
        if machine.attempt('test', '-e', CONFLIST)['status']:
            self.write_conflist(BRIDGE)

    def write_conflist(self, *plugins: Mapping[str, Any]) -> None:
        """Have the container runtime call these for each pod."""
        text = json.dumps({**NETWORK, 'plugins': plugins})
        self.machine.write(CONFLIST, text)

    def use_metaplugin(self) -> None:
        """Have it call a plugin that calls others, as Multus does."""
        program = f'#!/bin/sh\nexec {sys.executable} {METAPLUGIN}\n'
        self.machine.write('/opt/cni/bin/metaplugin', program, 0o755)
        known = {'server': self._plane.outside, 'token': 'admin', 'ca': CA}
        own = {**NETWORK, **BRIDGE}
        self.write_conflist(
            {'type': 'metaplugin', 'api': known, 'clusterNetwork': own}
        )

    def make_vfs(self) -> None:
        """The how-to's first step: at each boot, before the device plugin."""
        up = 'ip link set "$(basename $PF/net/*)" up'
        commands = [
            f'for PF in /sys/bus/pci/devices/0000:02:00.*; do {up}; done',
            *(block.script for block in page.section(1)),
            'udevadm settle --timeout=240',
        ]
        # a function of this card has seven VFs at most
        script = '\n'.join(commands).replace('echo 8 ', 'echo 7 ')
        self.machine.shell(script)

    def start_containerd(self) -> None:
        """Return when it answers."""
        path = f'{self._runtime}:/usr/sbin:/usr/bin:/sbin:/bin'
        self.machine.start_service(
            'containerd', self._runtime / 'containerd', PATH=path, **FRUGAL
        )
        wait_until(
            lambda: not self.machine.attempt(*self._ctr('version'))['status'],
            'containerd to answer',
        )

    def _ctr(self, *words: str) -> list[str]:
        """Words of a command that asks containerd."""
        return [str(self._runtime / 'ctr'), '--address', SOCKET, *words]

    def kill_task(self, container_id: str) -> None:
        """End a container, or a sandbox, of the kubelet's by force."""
        words = '-n', 'k8s.io', 'tasks', 'kill', '--signal', 'SIGKILL'
        self.machine.run(*self._ctr(*words, container_id))

    def start_kubelet(self) -> None:
        """It registers the node by itself."""
        self.machine.start_service(
            'kubelet',
            self._plane.api.programs / 'kubelet',
            '--config=/etc/kubernetes/kubelet.yaml',
            '--kubeconfig=/etc/kubernetes/kubelet.kubeconfig',
            f'--hostname-override={NODE}',
            '--node-ip=10.0.2.15',
            # measuring each container takes most of an emulated processor
            '--housekeeping-interval=5m',
            **FRUGAL,
        )

    def start_device_plugin(self) -> None:
        """It reads the how-to's file."""
        file = DEVICE_PLUGIN.parents[3] / 'examples/howto/device-plugin.json'
        self.machine.start_service(
            'device-plugin', sys.executable, DEVICE_PLUGIN, file
        )

    def check_sandbox(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """What the CNI plugin answers to a CHECK, which containerd never asks.

        :param record: of the ledger.
        """
        sandbox = record['sandbox']
        pod, container = sandbox['pod'], sandbox['container_id']
        kept = f'/var/lib/cni/results/{NETWORK["name"]}-{container}-eth0'
        result = json.loads(self.machine.run('cat', kept))['result']
        config = {**NETWORK, 'type': 'kuryr-sriov', 'prevResult': result}
        variables = {
            'CNI_COMMAND': 'CHECK',
            'CNI_CONTAINERID': container,
            'CNI_NETNS': sandbox['netns'],
            'CNI_IFNAME': 'eth0',
            'CNI_PATH': '/opt/cni/bin',
            'CNI_ARGS': f'IgnoreUnknown=1;K8S_POD_NAMESPACE={pod["namespace"]}'
            f';K8S_POD_NAME={pod["name"]};K8S_POD_UID={pod["uid"]}',
        }
        return self.machine.attempt(
            *('env', *(f'{key}={value}' for key, value in variables.items())),
            '/opt/cni/bin/kuryr-sriov',
            stdin=json.dumps(config),
        )

    def restart_containerd(self) -> None:
        """As ``systemctl restart`` does: its containers go on."""
        self.machine.stop_service('containerd')
        self.start_containerd()

    def restart_kubelet(self, how: signal.Signals = signal.SIGTERM) -> None:
        """The same for the kubelet."""
        self.machine.stop_service('kubelet', how)
        self.start_kubelet()

    def wait_ready(self) -> None:
        """Return once the node is Ready and offers its VFs."""
        wait_until(self._is_ready, f'{NODE} to be Ready with its VFs')

    def _is_ready(self) -> bool:
        try:
            status = self._plane.get(f'/api/v1/nodes/{NODE}')['status']
        except ApiError:
            return False
        if status['nodeInfo']['bootID'] != self._boot_id:
            return False  # what it said before it was started again
        ready = any(
            each['type'] == 'Ready' and each['status'] == 'True'
            for each in status['conditions']
        )
        offered = status.get('allocatable', {})
        return ready and all(
            offered.get(f'intel.com/{physnet}') == '7'
            for physnet in ('physnet22', 'physnet23')
        )
