# SPDX-License-Identifier: Apache-2.0
"""From a change in Neutron to the VF of a running pod, through both daemons.

Neutron, the API server, the CNI plugin and the daemons are real; kernel and
kubelet of the node are simulated.
"""

import pytest
from daemons import SECONDS
from servers import wait_for
from worker import Worker

from kuryr_sriov.testing.simulation.simulated_node import Pf

NODE = 'node-1'
PFS = (
    # igb, for one, has no link state
    Pf('0000:02:00.0', 'ens6', vfs=2, driver='i40e'),
    Pf('0000:02:00.1', 'ens8', vfs=2, driver='i40e'),
)


@pytest.fixture
def controller_process(start):
    """It looks for changes each second."""
    often = '[sriov_controller]\nchanges_period = 1\n'
    process = start('one', often, cache_ttl=0)
    process.wait_working()
    return process


@pytest.fixture
def machine(cluster, controller, plugin):
    worker = Worker(cluster, controller, NODE, plugin, PFS)
    worker.start()
    yield worker
    worker.close()


@pytest.fixture
def slow(lab):
    """A QoS policy: 200 Mbit/s at most."""
    network = lab.admin.network
    made = network.create_qos_policy(name='slow', is_shared=True)
    network.create_qos_bandwidth_limit_rule(
        made.id, max_kbps=200_000, direction='egress'
    )
    yield made.id
    lab.neutron.set_vfs({})
    for port in list(network.ports()):
        network.delete_port(port.id)
    network.delete_qos_policy(made.id)


def run_pod(lab, world, machine):
    """A pod with both VFs, whose ports Neutron's agent sees in use."""
    pod = machine.schedule(1)
    (port,) = world.wait_promised(pod)
    machine.succeed('ADD', 1)
    machine.wait_told(1, 'net1', 'net2')
    told = machine.told(1)
    vfs = [{'mac': vif.mac, 'pci_slot': told[vif.ifname]} for vif in port.vifs]
    lab.neutron.set_vfs({NODE: vfs})
    world.wait_says(pod, 'Active', 'True', 'Activated')
    return pod, port.vifs, told


def test_what_is_changed_in_neutron_is_what_the_vf_has(
    lab, world, controller_process, machine, slow
):
    """And what is taken away again, the VF has no more."""
    before = machine.node.state()
    pod, vifs, told = run_pod(lab, world, machine)

    def held(ifname):
        settings = machine.node.state()[told[ifname]].settings
        return (
            settings.max_tx_rate,
            settings.spoofchk,
            settings.link_state,
        )

    at_first = {ifname: held(ifname) for ifname in told}
    assert set(at_first.values()) == {(0, True, 'auto')}
    changes = {
        'qos_policy_id': slow,
        'port_security_enabled': False,
        'security_groups': [],
    }

    # the one is in the hands of a program, the other an interface of the pod
    for vif in vifs:
        lab.admin.network.update_port(vif.id, **changes)
    lab.admin.network.update_port(vifs[1].id, admin_state_up=False)

    wait_for(
        lambda: (
            (held('net1'), held('net2'))
            == ((200, False, 'auto'), (200, False, 'disable'))
        ),
        SECONDS,
        f'the VFs to follow, which have {held("net1")} and {held("net2")}',
    )
    wait_for(
        lambda: {'VifChanged', 'VfChanged'} <= reasons(world, pod),
        SECONDS,
        'the events',
    )
    assert 'VfNotChanged' not in reasons(world, pod)
    machine.succeed('CHECK', 1)

    for vif in vifs:
        lab.admin.network.update_port(
            vif.id,
            qos_policy_id=None,
            port_security_enabled=True,
            admin_state_up=True,
        )
    wait_for(
        lambda: {ifname: held(ifname) for ifname in told} == at_first,
        SECONDS,
        'the VFs to follow again',
    )
    machine.succeed('CHECK', 1)
    machine.succeed('DEL', 1)
    machine.wait_told(1)
    assert machine.node.state() == before
    world.delete_pod(pod.name)
    wait_for(lambda: world.port(pod) is None, SECONDS, 'its port object to go')
    assert list(lab.admin.network.ports()) == []


def test_a_rule_of_a_qos_policy_that_is_changed_reaches_the_vf(
    lab, world, controller_process, machine, slow
):
    """The port itself stays as it is: only its policy has another limit."""
    _pod, vifs, told = run_pod(lab, world, machine)
    network = lab.admin.network
    network.update_port(vifs[1].id, qos_policy_id=slow)

    def rate():
        return machine.node.state()[told['net2']].settings.max_tx_rate

    wait_for(lambda: rate() == 200, SECONDS, 'the rate of the policy')
    (rule,) = network.qos_bandwidth_limit_rules(slow)
    network.update_qos_bandwidth_limit_rule(
        rule.id, slow, max_kbps=500_000, max_burst_kbps=0
    )
    wait_for(lambda: rate() == 500, SECONDS, "the rule's new rate")
    machine.succeed('CHECK', 1)
    machine.succeed('DEL', 1)


def reasons(world, pod):
    """Of the Events on the pod."""
    return {event['reason'] for event in world.events(pod)}
