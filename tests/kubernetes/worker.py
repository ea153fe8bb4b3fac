# SPDX-License-Identifier: Apache-2.0
"""A node of the cluster: kernel and kubelet simulated, the rest real."""

import json
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

from cnirun import Plugin
from servers import wait_for

from kuryr_sriov import Condition, Pod, Vif
from kuryr_sriov.cmd.demo.shared_kernel import KernelServer
from kuryr_sriov.testing.simulation.kubelet import Kubelet
from kuryr_sriov.testing.simulation.simulated_node import Pf, SimulatedNode

CONF = """
[sriov]
physnet_resource_mappings = physnet22:physnet22,physnet23:physnet23
resource_driver_mappings = physnet22:vfio-pci,physnet23:netdevice
enable_pod_resource_service = True
kubelet_root_dir = {folder}/kube
state_dir = {folder}/state
device_timeout = 5
[sriov_daemon]
kubeconfig = {kubeconfig}
[sriov_node]
cni_socket = {folder}/run/cni.sock
cni_conf_dir = {folder}/net.d
cni_bin_dir = {folder}/bin
plugin = {plugin}
vifs_timeout = 20
http_port = 0
"""
PFS = Pf('0000:02:00.0', 'ens6', vfs=3), Pf('0000:02:00.1', 'ens8', vfs=3)
NETWORKS = 'k8s.v1.cni.cncf.io/networks'
PROMISED = Condition(
    'True', 'Promised', 'They are there.', '2026-11-24T12:00:00Z'
)
PROGRAM = pathlib.Path(__file__).parent / 'mortal_daemon.py'
DEFAULT = {
    'cniVersion': '1.0.0',
    'interfaces': [{'name': 'eth0', 'mac': '02:00:00:00:00:02'}],
    'ips': [{'address': '10.1.0.5/16', 'interface': 0}],
    'dns': {},
}


class Worker:
    """One node, its daemon's process, and pods by number.

    :param cluster: with the API server.
    :param controller: writes as the controller does.
    :param functions: its NICs; each offers its VFs, or itself, as a resource
        of its own.
    :param conf: its kuryr.conf.
    """

    def __init__(
        self, cluster, controller, name, plugin, functions=PFS, conf=CONF
    ):
        # The paths of its sockets must be short.
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.name = name
        self.cluster = cluster
        self.controller = controller
        self.node = SimulatedNode(self.folder / 'node', functions)
        self.kernel = KernelServer(self.node.host.call)
        (self.folder / 'kube').mkdir()
        self.kubelet = Kubelet(self.folder / 'kube')
        self.kubelet.start()
        for number, function in enumerate(functions):
            vfs = self.node.vfs(function.pci) or [function.pci]
            self.kubelet.plug(f'intel.com/physnet2{number + 2}', vfs)
        self.socket = self.folder / 'run' / 'cni.sock'
        self.plugin = Plugin(plugin, self.socket, deadline=30)
        kubeconfig = cluster.kubeconfig(cluster.node_token(name))
        (self.folder / 'kuryr.conf').write_text(
            conf.format(
                folder=self.folder, kubeconfig=kubeconfig, plugin=plugin
            )
        )
        (self.folder / 'net.d').mkdir()
        self.conflist = self.folder / 'net.d' / '10-bridge.conflist'
        self.write_conflist()
        self.process = None
        self.pods = {}

    def write_conflist(self):
        """What the primary CNI writes."""
        found = {**DEFAULT, 'name': 'pods', 'plugins': [{'type': 'bridge'}]}
        self.conflist.write_text(json.dumps(found))

    def start(self, point=''):
        """Start the daemon; it dies at ``point``."""
        task = {
            'kernel': self.kernel.address,
            'files': [str(self.folder / 'kuryr.conf')],
            'node': self.name,
            'point': point,
        }
        log = open(self.folder / 'log', 'ab')  # noqa: SIM115
        with log:
            self.process = subprocess.Popen(
                [sys.executable, PROGRAM, json.dumps(task)],
                stdout=log,
                stderr=log,
            )
        wait_for(self._serves, 60, 'the node daemon to serve')

    def _serves(self):
        status = self.process.poll()
        if status == -signal.SIGKILL:
            return True  # it is dead already, as it was told
        assert status is None, (self.folder / 'log').read_text()
        if 'kuryr-sriov' not in self.conflist.read_text():
            return False
        with socket.socket(socket.AF_UNIX) as client:
            # What a killed daemon left refuses.
            return client.connect_ex(str(self.socket)) == 0

    def stop(self):
        """End it as the kubelet does; its exit status."""
        self.process.terminate()
        return self.process.wait(timeout=60)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.kubelet.stop()
        self.kernel.server_close()
        self.node.close()
        shutil.rmtree(self.folder)

    def schedule(self, number, networks='sriov-net1,sriov-net2'):
        """A pod on this node, with a VF of each PF; a sandbox for it."""
        resources = {'intel.com/physnet22': '1', 'intel.com/physnet23': '1'}
        body = self.cluster.create(
            {
                'apiVersion': 'v1',
                'kind': 'Pod',
                'metadata': {
                    'name': f'pod{number}',
                    'annotations': {NETWORKS: networks} if networks else {},
                },
                'spec': {
                    'nodeName': self.name,
                    'containers': [
                        {
                            'name': 'c',
                            'image': 'nginx:1.29',
                            'resources': {'limits': resources},
                        }
                    ],
                },
            }
        )
        uid = body['metadata']['uid']
        if networks:
            counts = {name: int(count) for name, count in resources.items()}
            self.kubelet.allocate('default', f'pod{number}', uid, counts)
        self.node.add_netns(self.netns(number))
        self.pods[number] = Pod('default', f'pod{number}', uid, self.name)
        return self.pods[number]

    def promise(self, number):
        """What the controller publishes for it."""
        vifs = [
            Vif(
                id=f'port-{number}-{index}',
                ifname=f'net{index + 1}',
                network=f'default/sriov-net{index + 1}',
                resource=f'intel.com/physnet2{index + 2}',
                physnet=f'physnet2{index + 2}',
                mac=f'fa:16:3e:00:0{index}:{number:02x}',
                addresses=(f'192.168.{index + 2}.{number + 1}/24',),
                vlan=3501 + index,
            )
            for index in (0, 1)
        ]
        pod = self.pods[number]
        self.controller.publish(pod, vifs, 'digest')
        self.controller.record(
            pod,
            {'Requested': PROMISED},
            {},
        )
        return vifs

    def netns(self, number):
        return f'/run/netns/pod{number}'

    def ask(self, command, number, **config):
        """How a run of the CNI plugin for that pod ended."""
        pod = self.pods[number]
        whole = {'cniVersion': '1.0.0', 'name': 'pods', **config}
        if command == 'ADD':
            whole['prevResult'] = DEFAULT
        return self.plugin.run(
            command,
            whole,
            CNI_CONTAINERID=f'sandbox{number}',
            CNI_NETNS=self.netns(number),
            CNI_ARGS=f'IgnoreUnknown=1;K8S_POD_NAMESPACE={pod.namespace};'
            f'K8S_POD_NAME={pod.name};K8S_POD_UID={pod.uid}',
        )

    def succeed(self, command, number, **config):
        """The result, if there is one."""
        ended = self.ask(command, number, **config)
        assert ended.status == 0, ended.output
        return json.loads(ended.output) if ended.output else None

    def port(self, number):
        """The port object, as the API has it."""
        uid = self.pods[number].uid
        path = (
            f'/apis/openstack.org/v1/namespaces/default/kuryrsriovports/{uid}'
        )
        return self.cluster.call('GET', path)

    def told(self, number):
        """Interface and VF of each attachment that the API server knows."""
        status = self.port(number).get('status') or {}
        return {
            one['interface']: one['pciAddress']
            for one in status.get('attachments') or ()
        }

    def wait_told(self, number, *interfaces):
        """Until the port object names these interfaces."""
        wait_for(
            lambda: sorted(self.told(number)) == sorted(interfaces),
            60,
            f'a report of {interfaces}',
        )

    def network_status(self, number):
        """The annotation of the pod."""
        pod = self.pods[number]
        path = f'/api/v1/namespaces/{pod.namespace}/pods/{pod.name}'
        body = self.cluster.call('GET', path)
        annotations = body['metadata'].get('annotations') or {}
        key = 'k8s.v1.cni.cncf.io/network-status'
        return json.loads(annotations.get(key, '[]'))
