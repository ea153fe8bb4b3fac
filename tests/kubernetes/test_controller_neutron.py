# SPDX-License-Identifier: Apache-2.0
"""The controller's daemon with a real Neutron: no port twice, none left."""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from daemons import SECONDS, World, report
from faults import Exchange, Hold
from kubelab.cluster import Cluster
from kubelab.controllers import ControllerProcess
from neutronlab.kuryr import write_conf
from neutronlab.lab import Lab
from servers import wait_for

from kuryr_sriov import Kubernetes, PortObject, Vif

# openstacksdk warns of what it does itself whenever it is configured
pytestmark = [
    pytest.mark.filterwarnings(f'ignore::{kind}')
    for kind in ('DeprecationWarning', 'PendingDeprecationWarning')
]

NODE = 'node-1'

MakeController = Callable[..., ControllerProcess]


@pytest.fixture(scope='session')
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp('neutron')) as running:
        yield running


@pytest.fixture(autouse=True)
def clean_cloud(lab: Lab) -> Iterator[None]:
    """Faults, ports and VFs in use end with the test that made them."""
    yield
    lab.proxy.reset()
    lab.neutron.set_vfs({})
    for port in list(lab.admin.network.ports()):
        lab.admin.network.delete_port(port.id)


@pytest.fixture
def world(cluster: Cluster, lab: Lab, tmp_path: pathlib.Path) -> World:
    """The how-to's two networks, as Neutron has them."""
    made = World(cluster, tmp_path)
    made.make_nad('sriov-net1', lab.net22.subnet)
    made.make_nad('sriov-net2', lab.net23.subnet)
    return made


@pytest.fixture
def start(
    lab: Lab, make_controller: MakeController, tmp_path: pathlib.Path
) -> Callable[..., ControllerProcess]:
    """Makes replicas with the documented user's credentials."""

    def make(name: str, more: str = '', **neutron: Any) -> ControllerProcess:
        path = tmp_path / 'neutron.conf'
        write_conf(lab, path, **neutron)
        text = (
            '[sriov]\n'
            'vif_driver = neutron\n'
            'default_physnet_subnets = '
            f'physnet22:{lab.net22.subnet},physnet23:{lab.net23.subnet}\n'
            'resource_driver_mappings = '
            'physnet22:vfio-pci,physnet23:netdevice\n'
            'orphan_grace = 0\n'
        )
        process = make_controller(name, text + path.read_text() + more)
        process.start()
        return process

    return make


@pytest.fixture
def node(cluster: Cluster, connect: Any) -> Kubernetes:
    return connect(cluster.node_token(NODE))


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


def owned(lab: Lab) -> list[str]:
    """Whose the ports of Neutron are: uids, one for each port."""
    return sorted(port.device_id for port in lab.admin.network.ports())


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
    assert owned(lab) == sorted([pod.uid for pod in pods] * 2)
    vifs = [vif for port in (wired, other, last) for vif in port.vifs]
    wait_for(lambda: all_active(lab, vifs), SECONDS, 'all to be ACTIVE again')

    for pod in pods:
        world.delete_pod(pod.name)
    wait_for(lambda: not world.ports(), SECONDS, 'the port objects to go')
    assert owned(lab) == []


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
        assert owned(lab) == [pod.uid] * 2
        assert {vif.id for vif in port.vifs} == {
            port.id for port in lab.admin.network.ports()
        }
        world.delete_pod('web')
    wait_for(lambda: not world.ports(), SECONDS, 'the port object to go')
    assert owned(lab) == []


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
    assert owned(lab) == [pod.uid] * 2
    lines = daemon.ask('/metrics')[1].splitlines()
    asked = [line for line in lines if 'provider_seconds_count{' in line]
    assert any('outcome="ProviderUnavailable"' in line for line in asked)
    made = 'request="POST ports"'
    assert any(made in line and '"done"' in line for line in asked)


def test_a_subnet_that_hangs_keeps_eight_workers_from_no_other(
    lab: Lab,
    world: World,
    start: Callable[..., ControllerProcess],
) -> None:
    """Though more of its pods are due than there are workers."""
    daemon = start('one', '[sriov_controller]\nworkers = 8\n', timeout=5)
    daemon.wait_working()
    over = threading.Event()
    asked: list[str] = []

    def hang(exchange: Exchange) -> None:
        body = exchange.body.decode()
        if exchange.method == 'POST' and lab.net22.subnet in body:
            asked.append(body)
            over.wait(600)
            exchange.lose_request = True  # nobody waits for its ports

    with lab.proxy.fault(before=hang):
        for number in range(60):
            world.make_pod(f'hung{number}', 'sriov-net1', node=NODE)
        wait_for(lambda: asked, SECONDS, 'a request that hangs')
        well = [
            world.make_pod(f'well{number}', 'sriov-net2', node=NODE)
            for number in range(8)
        ]
        wait_for(
            lambda: {pod.uid for pod in well} <= {*owned(lab)},
            SECONDS,
            'the ports of the other subnet',
        )
        # Else each of those that hang has had its turn before.
        assert len(asked) < 40
        over.set()


def test_a_network_whose_ports_cannot_be_deleted_keeps_no_other_ports(
    lab: Lab,
    world: World,
    start: Callable[..., ControllerProcess],
) -> None:
    """Though more of its pods are gone than there are workers."""
    daemon = start('one', '[sriov_controller]\nworkers = 8\n', timeout=5)
    hung = [
        world.make_pod(f'hung{number}', 'sriov-net1', node=NODE)
        for number in range(40)
    ]
    well = [
        world.make_pod(f'well{number}', 'sriov-net2', node=NODE)
        for number in range(8)
    ]
    everybody = {pod.uid for pod in (*hung, *well)}
    wait_for(lambda: {*owned(lab)} == everybody, SECONDS, 'all ports')
    daemon.wait_working()
    first = {
        port.id for port in lab.admin.network.ports(network_id=lab.net22.id)
    }
    over = threading.Event()
    asked: list[str] = []

    def hang(exchange: Exchange) -> None:
        port = exchange.path.rpartition('/')[2]
        if exchange.method == 'DELETE' and port in first:
            asked.append(port)
            over.wait(600)

    with lab.proxy.fault(before=hang):
        for pod in hung:
            world.delete_pod(pod.name)
        wait_for(lambda: asked, SECONDS, 'a request that hangs')
        for pod in well:
            world.delete_pod(pod.name)
        wait_for(
            lambda: not {pod.uid for pod in well} & {*owned(lab)},
            SECONDS,
            'the ports of the other network to go',
        )
        # Else each of those that hang has had its turn before.
        assert len(set(asked)) < 30
        over.set()
    wait_for(lambda: not world.ports(), SECONDS, 'all port objects to go')
    assert owned(lab) == []


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
    assert owned(lab) == sorted([kept.uid, gone.uid] * 2)
    daemon.start()
    wait_for(
        lambda: owned(lab) == [kept.uid] * 2, SECONDS, 'the orphans to go'
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
