# SPDX-License-Identifier: Apache-2.0
"""The controller's daemon, from pods to port objects and back."""

from __future__ import annotations

from collections.abc import Callable

import monitoring
import pytest
from daemons import PODS, SECONDS, World, report
from kubelab.cluster import PORTS, Cluster
from kubelab.controllers import ControllerProcess
from servers import wait_for

from kuryr_sriov import Kubernetes

MakeController = Callable[[str], ControllerProcess]


def test_from_a_pod_to_traffic_and_back(
    world: World, daemon: ControllerProcess, node: Kubernetes
) -> None:
    pod = world.make_pod('web')
    (port,) = world.wait_promised(pod)
    assert [vif.ifname for vif in port.vifs] == ['net1', 'net2']
    assert port.pod == pod
    world.wait_says(pod, 'Requested', 'True', 'Promised')
    world.wait_says(pod, 'Active', 'False', 'NotAttached')

    report(node, port)
    world.wait_says(pod, 'Active', 'True', 'Activated')
    told = world.port(pod)
    assert told is not None
    assert told.activated == {
        one.vif_id: one.location.pci_slot for one in told.attachments
    }

    world.delete_pod('web')
    world.wait_gone(pod)
    assert world.vifs() == []


def test_a_pod_costs_three_writes_and_its_end_two(
    world: World, daemon: ControllerProcess, node: Kubernetes
) -> None:
    pod = world.make_pod('web')
    (port,) = world.wait_promised(pod)
    report(node, port)
    world.wait_says(pod, 'Active', 'True', 'Activated')
    assert [call.split()[0] for call in daemon.writes()] == ['PATCH'] * 3
    world.delete_pod('web')
    world.wait_gone(pod)
    ends = [call.split()[0] for call in daemon.writes()[3:]]
    assert ends == ['DELETE', 'PATCH']


def test_events_of_a_pod_that_ask_for_nothing_new_cost_nothing(
    world: World, daemon: ControllerProcess
) -> None:
    pod = world.make_pod('web')
    world.wait_promised(pod)
    before = len(daemon.proxy.calls)
    for number in range(30):
        labels = {'metadata': {'labels': {'number': str(number)}}}
        world.patch_pod('web', labels)
    last = world.make_pod('last')
    world.wait_promised(last)
    calls = [
        str(call)
        for call in daemon.proxy.calls[before:]
        if '/leases' not in call.path and last.uid not in call.path
    ]
    assert calls == []


@pytest.mark.parametrize('phase', ['Succeeded', 'Failed'])
def test_the_ports_of_a_pod_that_ended_go_at_once(
    world: World, daemon: ControllerProcess, phase: str
) -> None:
    """A Job's pod may stay for days."""
    pod = world.make_pod('job')
    world.wait_promised(pod)
    world.end_pod('job', phase)
    world.wait_gone(pod)


def test_pods_that_must_have_no_ports_get_none(
    world: World, daemon: ControllerProcess
) -> None:
    pods = [
        world.make_pod('host', hostNetwork=True),
        world.make_pod('plain', networks=''),
        world.make_pod('unscheduled', node=''),
    ]
    world.wait_promised(world.make_pod('web'))
    for pod in pods:
        assert world.port(pod) is None
    assert len(world.holders()) == 1


def test_a_pod_of_other_networks_is_told_to_its_node(
    world: World, daemon: ControllerProcess, cluster: Cluster
) -> None:
    """Which would wait for a promise in vain."""
    nad = {'name': 'bridge-net', 'annotations': {}}
    cluster.create(
        {
            'apiVersion': 'k8s.cni.cncf.io/v1',
            'kind': 'NetworkAttachmentDefinition',
            'metadata': nad,
        }
    )
    pod = world.make_pod('web', 'bridge-net')
    world.wait_says(pod, 'Requested', 'True', 'NotOurs')
    port = world.port(pod)
    assert port is not None
    assert port.vifs == ()
    assert world.events(pod) == []
    assert world.vifs() == []
    world.delete_pod('web')
    world.wait_gone(pod)


def test_a_missing_network_is_told_and_heals_by_itself(
    world: World, daemon: ControllerProcess
) -> None:
    pod = world.make_pod('web', 'sriov-net1,sriov-net3')
    wait_for(lambda: world.events(pod), SECONDS, 'an event')
    world.wait_says(pod, 'Requested', 'False', 'NetworkMissing')
    port = world.port(pod)
    assert port is not None
    assert port.vifs == ()
    requested = port.conditions['Requested']
    assert 'default/sriov-net3' in requested.message
    (event,) = world.events(pod)
    assert event['note'] == requested.message
    assert event['reason'] == requested.reason
    assert event['reportingController'] == 'kuryr-sriov-controller'

    world.annotate('web', 'sriov-net1,sriov-net2')
    world.wait_promised(pod)
    world.wait_says(pod, 'Requested', 'True', 'Promised')


def test_a_network_that_is_made_later_is_found(
    world: World, daemon: ControllerProcess
) -> None:
    """By its watch: nobody waits for the next retry."""
    pod = world.make_pod('web', 'sriov-net1,late')
    wait_for(lambda: world.events(pod), SECONDS, 'an event')
    world.make_nad('late', 'wide23')
    world.wait_promised(pod)


def test_the_author_cannot_free_ports_by_editing(
    world: World, daemon: ControllerProcess, node: Kubernetes
) -> None:
    pod = world.make_pod('web')
    (port,) = world.wait_promised(pod)
    report(node, port)
    world.wait_says(pod, 'Active', 'True', 'Activated')
    for number in range(10):
        world.annotate('web', f'sriov-net1@a{number},sriov-net2@b{number}')
    world.annotate('web', None)
    world.wait_promised(world.make_pod('last'))
    wait_for(lambda: world.events(pod), SECONDS, 'an event')
    now = world.port(pod)
    assert now is not None
    assert now.vifs == port.vifs
    assert not now.deleting
    assert len(world.vifs()) == 4
    reasons = {event['reason'] for event in world.events(pod)}
    assert reasons == {'ChangeIgnored'}
    world.delete_pod('web')
    world.wait_gone(pod)


def test_a_port_object_that_is_deleted_by_hand_works_on(
    world: World,
    daemon: ControllerProcess,
    node: Kubernetes,
    cluster: Cluster,
) -> None:
    pod = world.make_pod('web')
    (port,) = world.wait_promised(pod)
    cluster.call('DELETE', f'{PORTS}/{pod.uid}')
    report(node, port)
    world.wait_says(pod, 'Active', 'True', 'Activated')
    now = world.port(pod)
    assert now is not None
    assert now.deleting
    assert len(world.vifs()) == 2
    world.delete_pod('web')
    world.wait_gone(pod)


def test_a_successor_of_the_same_name_gets_ports_of_its_own(
    world: World, daemon: ControllerProcess
) -> None:
    """As a StatefulSet makes it, at once."""
    first = world.make_pod('db-0')
    (old,) = world.wait_promised(first)
    world.delete_pod('db-0')
    second = world.make_pod('db-0')
    (new,) = world.wait_promised(second)
    world.wait_gone(first)
    assert {vif.id for vif in new.vifs}.isdisjoint(v.id for v in old.vifs)
    assert world.port(second) is not None


def test_a_vf_that_changes_is_told_to_the_provider(
    world: World, daemon: ControllerProcess, node: Kubernetes
) -> None:
    """The runtime has made the sandbox again, on other VFs."""
    pod = world.make_pod('web')
    (port,) = world.wait_promised(pod)
    report(node, port)
    world.wait_says(pod, 'Active', 'True', 'Activated')
    report(node, port, slot=2)

    def activated() -> set[str]:
        found = world.port(pod)
        return set(found.activated.values()) if found else set()

    there = {'0000:02:10.2', '0000:02:11.2'}
    wait_for(lambda: activated() == there, SECONDS, 'the new VFs')
    world.wait_says(pod, 'Active', 'True', 'Activated')


def test_what_the_provider_refuses_is_told(
    world: World, daemon: ControllerProcess, node: Kubernetes
) -> None:
    """Two pods that report the same VFs: one of them is wrong."""
    first, second = world.make_pod('one'), world.make_pod('two')
    ports = world.wait_promised(first, second)
    report(node, ports[0])
    world.wait_says(first, 'Active', 'True', 'Activated')
    report(node, ports[1])
    world.wait_says(second, 'Active', 'False', 'DeviceBusy')
    wait_for(lambda: world.events(second), SECONDS, 'an event')
    world.delete_pod('one')
    world.wait_says(second, 'Active', 'True', 'Activated')


def test_probes_and_metrics(world: World, daemon: ControllerProcess) -> None:
    world.wait_promised(world.make_pod('web'))
    assert daemon.ask('/healthz') == (200, 'ok\n')
    assert daemon.ask('/readyz') == (200, 'ok\n')
    assert daemon.ask('/secret')[0] == 404
    assert daemon.metric('kuryr_sriov_controller_leader') == 1
    assert daemon.metric('kuryr_sriov_controller_pods') == 1
    assert daemon.metric('kuryr_sriov_controller_port_objects') == 1


def test_dashboard_and_alerts_name_metrics_that_there_are(
    world: World, daemon: ControllerProcess
) -> None:
    world.wait_promised(world.make_pod('web'))
    named = monitoring.named_metrics('controller')
    assert len(named) > 5
    assert named <= monitoring.shown_metrics(daemon.ask('/metrics')[1])


def test_five_hundred_pods_at_once(
    world: World, daemon: ControllerProcess, node: Kubernetes
) -> None:
    pods = [world.make_pod(f'web-{number}') for number in range(500)]
    ports = world.wait_promised(*pods)
    addresses = [a for port in ports for v in port.vifs for a in v.addresses]
    assert len(set(addresses)) == len(addresses) == 1000
    assert len(daemon.writes()) <= 2 * len(pods)
    for pod in pods:
        world.delete_pod(pod.name)
    world.wait_gone(*pods)
    assert world.vifs() == []
    assert len(daemon.writes()) <= 4 * len(pods)


def test_nothing_of_a_pod_that_was_made_and_deleted_at_once_stays(
    world: World, daemon: ControllerProcess
) -> None:
    pods = []
    for number in range(50):
        pods.append(world.make_pod(f'brief-{number}'))
        world.delete_pod(f'brief-{number}')
    world.wait_promised(world.make_pod('web'))
    world.wait_gone(*pods)
    assert len(world.vifs()) == 2
    assert world.cluster.call('GET', PODS)['items'] != []
