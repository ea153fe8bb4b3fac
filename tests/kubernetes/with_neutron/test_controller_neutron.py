# SPDX-License-Identifier: Apache-2.0
"""The controller's daemon with a real Neutron: no port twice, none left."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from daemons import SECONDS, World, report
from faults import Exchange, Hold
from kubelab.cluster import Cluster
from kubelab.controllers import ControllerProcess
from neutronlab.lab import Lab
from servers import wait_for

from kuryr_sriov import Kubernetes, PortObject, Vif

NODE = 'node-1'


def wire(lab: Lab, node: Kubernetes, *ports: PortObject) -> None:
    """What the nodes do: VFs in use, and a report of each pod."""
    vfs = []
    for number, port in enumerate(ports):
        for vif, bus in zip(port.vifs, (2, 3), strict=True):
            pci = f'0000:{bus:02x}:{16 + number:02x}.0'
            vfs.append({'mac': vif.mac, 'pci_slot': pci})
    lab.neutron.set_vfs({NODE: vfs})
    for number, port in enumerate(ports):
        report(
            node,
            port,
            pcis=[f'0000:{bus:02x}:{16 + number:02x}.0' for bus in (2, 3)],
        )


def all_active(lab: Lab, vifs: list[Vif]) -> bool:
    """Whether Neutron's agent says so of each.

    An agent that is told of a port again wires it again: for that moment
    one that has been ACTIVE is in BUILD.
    """
    active = lab.admin.network.ports(status='ACTIVE')
    return {vif.id for vif in vifs} <= {port.id for port in active}


def test_failover_and_failback_make_no_port_twice(
    lab: Lab,
    world: World,
    start: Callable[[str], ControllerProcess],
    node: Kubernetes,
) -> None:
    first, second = start('one'), start('two')
    wait_for(lambda: first.works() or second.works(), SECONDS, 'a leader')
    if second.leads():
        first, second = second, first
    before = world.make_pod('before', node=NODE)
    (wired,) = world.wait_promised(before)
    wire(lab, node, wired)
    world.wait_says(before, 'Active', 'True', 'Activated')

    first.kill()
    between = world.make_pod('between', node=NODE)
    (other,) = world.wait_promised(between)
    assert second.leads()
    wire(lab, node, wired, other)
    world.wait_says(between, 'Active', 'True', 'Activated')

    first.start()
    second.kill()
    after = world.make_pod('after', node=NODE)
    (last,) = world.wait_promised(after)
    assert first.leads()
    wire(lab, node, wired, other, last)
    pods = before, between, after
    for pod in pods:
        world.wait_says(pod, 'Active', 'True', 'Activated')
    assert lab.port_owners() == sorted([pod.uid for pod in pods] * 2)
    vifs = [vif for port in (wired, other, last) for vif in port.vifs]
    wait_for(lambda: all_active(lab, vifs), SECONDS, 'all to be ACTIVE again')

    for pod in pods:
        world.delete_pod(pod.name)
    wait_for(lambda: not world.ports(), SECONDS, 'the port objects to go')
    assert lab.port_owners() == []


@pytest.mark.parametrize('when', ['before', 'after'])
@pytest.mark.parametrize('method', ['POST', 'PUT', 'DELETE'])
def test_killed_while_it_asks_neutron(
    lab: Lab,
    world: World,
    start: Callable[[str], ControllerProcess],
    node: Kubernetes,
    method: str,
    when: str,
) -> None:
    """For ports, for their places, and for their end; another takes over."""
    first = start('one')
    first.wait_working()
    start('two')
    hold = Hold(1)

    def stop(exchange: Exchange) -> None:
        if exchange.method == method and '/ports' in exchange.path:
            hold(exchange)
            exchange.lose_request = when == 'before'

    with lab.proxy.fault(**{when: stop}):
        pod = world.make_pod('web', node=NODE)
        if method != 'POST':
            (port,) = world.wait_promised(pod)
            wire(lab, node, port)
        if method == 'DELETE':
            world.wait_says(pod, 'Active', 'True', 'Activated')
            world.delete_pod('web')
        assert hold.reached.wait(60)
        first.kill()
        hold.go.set()
    if method != 'DELETE':
        (port,) = world.wait_promised(pod)
        wire(lab, node, port)
        world.wait_says(pod, 'Active', 'True', 'Activated')
        assert lab.port_owners() == [pod.uid] * 2
        assert {vif.id for vif in port.vifs} == {
            port.id for port in lab.admin.network.ports()
        }
        world.delete_pod('web')
    wait_for(lambda: not world.ports(), SECONDS, 'the port object to go')
    assert lab.port_owners() == []


def test_a_neutron_that_is_away_is_told_and_heals(
    lab: Lab,
    world: World,
    start: Callable[[str], ControllerProcess],
) -> None:
    daemon = start('one')
    daemon.wait_working()

    def refuse(exchange: Exchange) -> None:
        exchange.status = 503

    with lab.proxy.fault(before=refuse):
        pod = world.make_pod('web', node=NODE)
        world.wait_says(pod, 'Requested', 'False', 'ProviderUnavailable')
        wait_for(lambda: world.events(pod), SECONDS, 'an event')
    world.wait_promised(pod)
    world.wait_says(pod, 'Requested', 'True', 'Promised')
    assert lab.port_owners() == [pod.uid] * 2
    lines = daemon.ask('/metrics')[1].splitlines()
    asked = [line for line in lines if 'provider_seconds_count{' in line]
    assert any('outcome="ProviderUnavailable"' in line for line in asked)
    made = 'request="POST ports"'
    assert any(made in line and '"done"' in line for line in asked)


def test_ports_whose_pods_are_gone_are_given_back(
    lab: Lab,
    world: World,
    start: Callable[[str], ControllerProcess],
    cluster: Cluster,
) -> None:
    """Their port objects were lost, with whatever kept them."""
    daemon = start('one')
    daemon.wait_working()
    kept, gone = (world.make_pod(name, node=NODE) for name in ('kept', 'gone'))
    world.wait_promised(kept, gone)
    daemon.kill()
    world.lose_port_object(gone)
    world.delete_pod('gone')
    assert lab.port_owners() == sorted([kept.uid, gone.uid] * 2)
    daemon.start()
    wait_for(
        lambda: lab.port_owners() == [kept.uid] * 2,
        SECONDS,
        'the orphans to go',
    )


def test_a_port_that_is_changed_in_neutron_reaches_its_node(
    lab: Lab,
    world: World,
    start: Callable[..., ControllerProcess],
    node: Kubernetes,
) -> None:
    start('one', '[sriov_controller]\nchanges_period = 1\n')
    pod = world.make_pod('web', node=NODE)
    (port,) = world.wait_promised(pod)
    wire(lab, node, port)
    world.wait_says(pod, 'Active', 'True', 'Activated')
    first, _second = port.vifs

    lab.admin.network.update_port(first.id, admin_state_up=False)

    wait_for(lambda: world.events(pod), SECONDS, 'an event')
    (event,) = world.events(pod)
    assert event['reason'] == 'VifChanged'
    assert event['note'].startswith('net1: link_state is disable, was auto of')
    assert event['note'].endswith('its node has the VF follow')
    wait_for(
        lambda: (
            [vif.link_state for vif in world.ports()[pod.uid].vifs][:1]
            == ['disable']
        ),
        SECONDS,
        'the promise to follow',
    )
    world.delete_pod('web')
    wait_for(lambda: not world.ports(), SECONDS, 'the port objects to go')
