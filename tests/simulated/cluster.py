# SPDX-License-Identifier: Apache-2.0
"""A controller, a node and a kubelet with their pods, to be tormented."""

import dataclasses
import errno
import itertools
import json
import os
import pathlib
import tempfile

from hypothesis.stateful import RuleBasedStateMachine

from kuryr_sriov import exceptions, model
from kuryr_sriov.config import loading
from kuryr_sriov.controller import Controller
from kuryr_sriov.testing.fixtures.interruption import Killed, tell_beginnings
from kuryr_sriov.testing.simulation.simulated_node import Pf

KURYR_CONF = """
[sriov_local]
subnets_file = {folder}/subnets.yaml
database = {folder}/local.sqlite
[sriov]
orphan_grace = 0
vif_driver = local
default_physnet_subnets = physnet22:{first},physnet23:{second}
physnet_resource_mappings = physnet22:physnet22,physnet23:physnet23
resource_driver_mappings = physnet22:vfio-pci,physnet23:netdevice
node_name = node1
"""
SUBNET_IDS = (
    '4c1b7b86-9d5e-4c39-8d0e-3a6a5d0b2f22',
    '9a0f6f0d-54b7-4a0e-b1d4-0f5b6c7e2f23',
)
SUBNETS = """
subnets:
- {{id: {0}, network: a, physnet: physnet22, cidr: 192.168.2.0/29, vlan: 11}}
- {{id: {1}, network: b, physnet: physnet23, cidr: 192.168.3.0/29, mtu: 1400}}
"""

# Thousands of small files: in memory, where the system has a place for it.
MEMORY = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None

KILL, FAIL = 'kill', 'fail'
DIED = object()
VFS = 3
POOL = 6  # addresses of a /29


class Trouble:
    """Kills, or fails a change, at the point after so many others."""

    def __init__(self):
        self.kind, self.left = None, 0

    def step(self, name):
        if self.kind == KILL:
            self._count(Killed(name))

    def change(self, name):
        if self.kind == FAIL:
            self._count(exceptions.KernelError(name, errno.EIO))
        self.step(name)

    def _count(self, error):
        if self.left == 0:
            if self.kind == FAIL:  # once; the dead stay dead
                self.kind = None
            raise error
        self.left -= 1


@dataclasses.dataclass(eq=False)
class Scheduled:
    """A pod that the kubelet has, with what it allocated to it.

    :param sandbox: None until there is one, and after it has gone.
    """

    number: int
    body: dict
    devices: list
    vifs: tuple = ()
    generation: int = 0
    sandbox: model.Sandbox | None = None

    @property
    def uid(self):
        return self.body['metadata']['uid']


class Cluster(RuleBasedStateMachine):
    """What is around the library, and whatever a test may do with it.

    :ivar pods: those that the kubelet has.
    """

    def __init__(self, make_world, nic):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY)
        pfs = [
            Pf('0000:02:00.0', 'ens6', vfs=VFS, driver=nic),
            Pf('0000:02:00.1', 'ens8', vfs=VFS, driver=nic),
        ]
        self.world = world = make_world(pathlib.Path(self.folder.name), pfs)
        world.text = KURYR_CONF.format(
            folder=world.path, first=SUBNET_IDS[0], second=SUBNET_IDS[1]
        )
        (world.path / 'subnets.yaml').write_text(SUBNETS.format(*SUBNET_IDS))
        world.node.add_interface('net1')  # in the way of VFs coming home
        if nic == 'igb':
            self.pin_a_mac()
        self.trouble = Trouble()
        world.node.on_change(self.trouble.change)
        self.numbers = itertools.count(1)
        self.pods = []
        self.start()
        self.controller = Controller(
            loading.load_config(files=[str(world.path / 'kuryr.conf')]),
            self.nad,
            self.publish,
            observe=tell_beginnings(self.trouble.step),
        )

    def pin_a_mac(self):
        """As if an operator had: the VF has got another."""
        host = self.world.node.host
        index = host.pci.device('0000:02:00.1').ifindex
        mac = model.VfSettings(mac='02:00:00:00:99:01')
        host.links.set_vf(index, VFS - 1, mac)

    def close(self):
        self.node.close()
        self.folder.cleanup()

    def start(self):
        self.node = self.world.start(observe_beginnings=self.trouble.step)

    def nad(self, namespace, name):
        """Of a network that is called as its subnet."""
        wanted = {'driverType': 'sriov', 'subnetId': name}
        annotations = {'openstack.org/kuryr-config': json.dumps(wanted)}
        return {'metadata': {'annotations': annotations}}

    def publish(self, pod, vifs):
        (scheduled,) = (p for p in self.pods if p.uid == pod.uid)
        scheduled.vifs = tuple(vifs)

    def pick(self, which):
        return self.pods[which % len(self.pods)]

    def act(self, trouble, function, *arguments, unless=()):
        """What it returned, DIED, or the error it had to raise.

        :param unless: errors for which it needs no trouble.
        """
        if trouble:
            self.trouble.kind, self.trouble.left = trouble
        try:
            return function(*arguments)
        except Killed:
            self.trouble.kind = None
            self.node.close()
            self.start()
            return DIED
        except exceptions.KuryrSriovError as error:
            if not trouble and not isinstance(error, unless):
                raise
            return error
        finally:
            self.trouble.kind = None

    def alive(self, sandbox):
        return self.world.node.host.links.alive(sandbox.netns)

    def schedule_on(self, pfs):
        """A new pod with a VF of each, while there are any."""
        used = {device for pod in self.pods for device in pod.devices}
        devices = []
        for pf in pfs:
            vfs = (self.world.vf(pf, index) for index in range(VFS))
            free = [vf for vf in vfs if vf not in (*used, *devices)]
            if not free:
                return None
            devices.append(free[-1])
        number = next(self.numbers)
        pod = Scheduled(number, body(number, pfs), devices)
        self.pods.append(pod)
        return pod

    def see_to_a_sandbox(self, pod):
        if not pod.sandbox:
            pod.generation += 1
            pod.sandbox = self.world.sandbox(
                pod.number, *pod.devices, generation=pod.generation
            )


def body(number, pfs):
    """A pod as the Kubernetes API has it, with a network per VF."""
    networks = ', '.join(
        f'{SUBNET_IDS[pf]}@net{place}' for place, pf in enumerate(pfs, 1)
    )
    requests = {
        f'intel.com/physnet{22 + pf}': str(pfs.count(pf)) for pf in pfs
    }
    return {
        'metadata': {
            'namespace': 'default',
            'name': f'pod{number}',
            'uid': f'uid-{number}',
            'annotations': {'k8s.v1.cni.cncf.io/networks': networks},
        },
        'spec': {
            'nodeName': 'node1',
            'containers': [{'resources': {'requests': requests}}],
        },
    }
