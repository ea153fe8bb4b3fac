# SPDX-License-Identifier: Apache-2.0
"""A pod on a node that is a VM: real API server, both daemons, real Neutron.

Nova's part is played by its own code: the config drive of the machine is
what it makes of what Neutron says of the machine's ports.
"""

import json

import nova_metadata
import pytest
from daemons import SECONDS
from neutronlab.lab import Lab
from servers import wait_for
from worker import CONF, Worker

from kuryr_sriov.testing.simulation.simulated_node import Vf

NODE = 'vm-1'
VFS = (
    Vf('0000:00:06.0', 'ens6', pinned=True),
    Vf('0000:00:07.0', 'ens7', pinned=True),
)


@pytest.fixture
def controller_process(start):
    return start('one', '[sriov]\nnode_vif_drivers = vm-*:guest\n')


@pytest.fixture(params=['metadata', 'provider'])
def machine(cluster, controller, plugin, lab, request):
    """The VM, with a port of Nova's for each of its VFs.

    Where the provider tells their addresses, the metadata does not: the
    subnets have DHCP.
    """
    conf = CONF.replace(
        '[sriov]\n',
        '[sriov]\ninstance_metadata = {folder}/drive\n'
        f'guest_addresses = {request.param}\n',
    )
    dhcp = request.param == 'provider'
    for network in (lab.net22, lab.net23):
        lab.admin.network.update_subnet(network.subnet, is_dhcp_enabled=dhcp)
    worker = Worker(cluster, controller, NODE, plugin, VFS, conf)
    for vf, network in zip(VFS, (lab.net22, lab.net23), strict=True):
        lab.admin.network.create_port(
            network_id=network.id,
            mac_address=worker.node.state()[vf.pci].link.mac,
            device_owner='compute:nova',
            device_id='6a3f2b1c-0000-4000-8000-00000000a001',
            binding_vnic_type='direct',
            binding_host_id='node-1',
        )
    told = {kind: list_all(lab, kind) for kind in ('networks', 'subnets')}
    told['ports'] = list_all(lab, 'ports')
    drive = worker.folder / 'drive/openstack/latest'
    drive.mkdir(parents=True)
    text = json.dumps(nova_metadata.describe_instance(told))
    assert ('ipv4_dhcp' in text) == dhcp
    (drive / 'network_data.json').write_text(text)
    yield worker
    worker.close()


def list_all(lab: Lab, kind: str):
    """As Neutron's API answers."""
    return lab.admin.network.get(f'/{kind}').json()[kind]


def test_a_pod_has_the_ports_of_the_machine(
    machine, controller_process, world, lab
):
    ports = {one['mac_address']: one for one in list_all(lab, 'ports')}
    assert len(ports) == 2
    before = lab.admin.network.get('/ports').text
    machine.start()
    state = machine.node.state()
    pod = machine.schedule(1)
    result = machine.succeed('ADD', 1)
    expected = [ports[state[vf.pci].link.mac] for vf in VFS]
    assert [each['name'] for each in result['interfaces']] == [
        'eth0',
        'net1',
        'net2',
    ]
    machine.wait_told(1, 'net1', 'net2')
    wait_for(
        lambda: len(machine.network_status(1)) == 2, SECONDS, 'network-status'
    )
    shown = machine.network_status(1)
    assert [each['mac'] for each in shown] == [
        port['mac_address'] for port in expected
    ]
    assert [each['ips'] for each in shown] == [
        [port['fixed_ips'][0]['ip_address']] for port in expected
    ]
    assert [each['mtu'] for each in shown] == [1500, 1500]
    world.wait_says(pod, 'Active', 'True', 'Activated')
    reported = machine.port(1)['status']
    ids = [port['id'] for port in expected]
    assert [one['vifId'] for one in reported['attachments']] == ids
    assert sorted(one['vifId'] for one in reported['activated']) == sorted(ids)
    machine.succeed('CHECK', 1)
    machine.succeed('DEL', 1)
    machine.wait_told(1)
    assert machine.node.state() == state
    world.delete_pod(pod.name)
    wait_for(lambda: world.port(pod) is None, SECONDS, 'its port object to go')
    assert lab.admin.network.get('/ports').text == before
