# SPDX-License-Identifier: Apache-2.0
"""A simulated node with the library on it, in a few words."""

import collections
import itertools

from kuryr_sriov import model
from kuryr_sriov.config import loading
from kuryr_sriov.node import Node
from kuryr_sriov.testing.fixtures.interruption import tell_beginnings
from kuryr_sriov.testing.simulation.simulated_node import Pf, SimulatedNode

PFS = (Pf('0000:02:00.0', 'ens6', vfs=2), Pf('0000:02:00.1', 'ens8', vfs=2))
KUBELET = """
[sriov]
physnet_resource_mappings = physnet22:physnet22,physnet23:physnet23
resource_driver_mappings = physnet22:vfio-pci,physnet23:netdevice
node_name = node1
"""
RESOURCES = {
    '0000:02:00.0': 'intel.com/physnet22',
    '0000:02:00.1': 'intel.com/physnet23',
}


class World:
    """One node, its kubelet's allocations, and pods by number.

    VFs of the first PF are for ``vfio-pci``, of the second for netdevice.
    """

    def __init__(self, path, pfs=PFS, text=KUBELET, timeout=5):
        self.node = SimulatedNode(path / 'root', pfs)
        self.allocated = collections.defaultdict(list)
        self.text = text
        self.path = path
        self.timeout = timeout
        self.open_nodes = []
        self._vifs = itertools.count(1)

    def start(self, **arguments):
        """The library, as a daemon on this node starts it."""
        file = self.path / 'kuryr.conf'
        state = f'state_dir = {self.path}/state'
        timeout = f'device_timeout = {self.timeout}'
        file.write_text(f'{self.text}{state}\n{timeout}\n')
        arguments.setdefault('host', self.node.host)
        if 'observe_beginnings' in arguments:
            arguments['observe'] = tell_beginnings(
                arguments.pop('observe_beginnings')
            )
        arguments.setdefault('allocations', self.allocations)
        node = Node(loading.load_config(files=[str(file)]), **arguments)
        self.open_nodes.append(node)
        return node

    def allocations(self, pod):
        """What the kubelet says."""
        return tuple(self.allocated[pod.uid])

    def vf(self, pf, index):
        """A VF as the kubelet allocates it; PFs and VFs by number."""
        address = f'0000:02:00.{pf}'
        return model.Device(RESOURCES[address], self.node.vfs(address)[index])

    def sandbox(self, pod, *devices, generation=1):
        """A sandbox of pod number ``pod``, which is given ``devices``."""
        self.allocated[f'uid-{pod}'] = list(devices)
        path = f'/run/netns/pod{pod}-{generation}'
        if not self.node.host.links.alive(path):
            self.node.add_netns(path)
        return model.Sandbox(
            f'sandbox{pod}-{generation}',
            path,
            model.Pod('default', f'pod{pod}', f'uid-{pod}'),
        )

    def vif(self, ifname, pf, **more):
        """A VIF for a VF of that PF."""
        number = next(self._vifs)
        resource = RESOURCES[f'0000:02:00.{pf}']
        fields = {
            'id': f'port-{number}',
            'network': f'default/{ifname}',
            'resource': resource,
            'physnet': resource.partition('/')[2],
            'mac': f'fa:16:3e:00:{number >> 8:02x}:{number & 255:02x}',
            'addresses': (f'192.168.2.{number % 250 + 2}/24',),
            'vlan': 3501 + pf,
            'mtu': 1450,
        }
        return model.Vif(ifname=ifname, **{**fields, **more})

    def both(self):
        """A vfio-pci VIF and a netdevice VIF."""
        return self.vif('net1', 0), self.vif('net2', 1)
