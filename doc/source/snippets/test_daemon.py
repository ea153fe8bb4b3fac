# SPDX-License-Identifier: Apache-2.0
"""A host's test: a pod gets its VF, and gives it back."""

from kuryr_sriov import Node, Pod, Sandbox, Vif, load_config
from kuryr_sriov.testing.simulation import Kubelet, Pf, SimulatedNode

PF = '0000:02:00.0'
RESOURCE = 'intel.com/physnet22'


def test_a_pod_gets_its_vf_and_gives_it_back(tmp_path):
    file = tmp_path / 'kuryr.conf'
    file.write_text(
        '[sriov]\n'
        'resource_driver_mappings = physnet22:netdevice\n'
        'enable_pod_resource_service = True\n'
        f'kubelet_root_dir = {tmp_path}\n'
        f'state_dir = {tmp_path}/state\n'
    )
    pod = Pod('default', 'web', uid='uid-1', node='node1')
    vif = Vif(
        id='port-1',
        ifname='net1',
        network='default/sriov-net1',
        resource=RESOURCE,
        physnet='physnet22',
        mac='fa:16:3e:00:00:01',
        addresses=('192.168.2.7/24',),
        vlan=3501,
    )
    simulated = SimulatedNode(tmp_path / 'node', [Pf(PF, 'ens6', vfs=8)])
    netns = simulated.add_netns('/run/netns/web')
    before = simulated.state()

    with Kubelet(tmp_path) as kubelet:
        kubelet.plug(RESOURCE, simulated.vfs(PF))
        kubelet.allocate(pod.namespace, pod.name, pod.uid, {RESOURCE: 1})
        conf = load_config(files=[str(file)])
        with Node(conf, host=simulated.host) as node:
            (attached,) = node.attach(Sandbox('c1', netns, pod), [vif])
            vf = simulated.state()[attached.location.pci_slot]
            node.detach('c1')

    assert vf.netns == netns
    assert vf.settings.vlan == 3501
    assert simulated.state() == before
