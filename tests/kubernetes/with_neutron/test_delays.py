# SPDX-License-Identifier: Apache-2.0
"""What hangs delays its own pods only, with a real Neutron."""

from __future__ import annotations

import threading
from collections.abc import Callable

from daemons import SECONDS, World, report
from faults import Exchange
from kubelab.controllers import ControllerProcess
from neutronlab.lab import Lab
from servers import wait_for

from kuryr_sriov import Kubernetes
from kuryr_sriov.model import Pod

NODE = 'node-1'
EIGHT_WORKERS = '[sriov_controller]\nworkers = 8\n'


def make_pods(world: World) -> tuple[list[Pod], list[Pod]]:
    """Forty on one network, eight on the other, all of them promised."""
    hung, well = (
        [
            world.make_pod(f'{name}{number}', network, node=NODE)
            for number in range(count)
        ]
        for name, network, count in (
            ('hung', 'sriov-net1', 40),
            ('well', 'sriov-net2', 8),
        )
    )
    # Before Neutron's port is in a port object, only orphans tell of it.
    wait_for(
        lambda: all(world.says(pod, 'Active')[0] for pod in (*hung, *well)),
        SECONDS,
        'all pods to be promised',
    )
    return hung, well


class Hang:
    """Requests for ports of the first network hang, and are lost.

    :param method: of those requests.
    :ivar asked: ids of those ports, one for each request.
    :ivar over: ends it, when set.
    """

    def __init__(self, lab: Lab, method: str) -> None:
        self.asked: list[str] = []
        self.over = threading.Event()
        self._method = method
        ports = lab.admin.network.ports(network_id=lab.net22.id)
        self._ports = {port.id for port in ports}

    def __call__(self, exchange: Exchange) -> None:
        port = exchange.path.rpartition('/')[2]
        if exchange.method == self._method and port in self._ports:
            self.asked.append(port)
            self.over.wait(600)
            exchange.lose_request = True


def has_place(lab: Lab, pod: Pod) -> bool:
    """Whether Neutron knows where the pod's VFs are."""
    ports = lab.admin.network.ports(device_id=pod.uid)
    return all(port.binding_profile for port in ports)


def test_a_subnet_that_hangs_keeps_eight_workers_from_no_other(
    lab: Lab,
    world: World,
    start: Callable[..., ControllerProcess],
) -> None:
    """Though more of its pods are due than there are workers."""
    daemon = start('one', EIGHT_WORKERS, timeout=5)
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
            lambda: {pod.uid for pod in well} <= {*lab.port_owners()},
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
    start('one', EIGHT_WORKERS, timeout=5)
    hung, well = make_pods(world)
    hang = Hang(lab, 'DELETE')
    with lab.proxy.fault(before=hang):
        for pod in hung:
            world.delete_pod(pod.name)
        wait_for(lambda: hang.asked, SECONDS, 'a request that hangs')
        for pod in well:
            world.delete_pod(pod.name)
        wait_for(
            lambda: not {pod.uid for pod in well} & {*lab.port_owners()},
            SECONDS,
            'the ports of the other network to go',
        )
        # Else each of those that hang has had its turn before.
        assert len(set(hang.asked)) < 30
        hang.over.set()
    wait_for(lambda: not world.ports(), SECONDS, 'all port objects to go')
    assert lab.port_owners() == []


def test_a_network_whose_vfs_cannot_be_told_keeps_no_other_pods(
    lab: Lab,
    world: World,
    start: Callable[..., ControllerProcess],
    node: Kubernetes,
) -> None:
    """Neutron takes no ``binding:profile`` of its ports for a while."""
    start('one', EIGHT_WORKERS, timeout=5)
    hung, well = make_pods(world)
    ports = world.ports()
    hang = Hang(lab, 'PUT')

    def place(pods: list[Pod], bus: int) -> None:
        for number, pod in enumerate(pods):
            slot, function = divmod(number, 8)
            pci = f'0000:{bus:02x}:{16 + slot:02x}.{function}'
            report(node, ports[pod.uid], pcis=[pci])

    with lab.proxy.fault(before=hang):
        place(hung, 2)
        wait_for(lambda: hang.asked, SECONDS, 'a request that hangs')
        place(well, 3)
        for pod in well:
            wait_for(
                lambda pod=pod: world.port(pod).activated,  # type: ignore[misc]
                SECONDS,
                f'Neutron to know the VF of {pod}',
            )
        # Else each of those that hang has had its turn before.
        assert len(set(hang.asked)) < 30
        hang.over.set()
    for pod in (*hung, *well):
        world.delete_pod(pod.name)
    wait_for(lambda: not world.ports(), SECONDS, 'all port objects to go')


def test_a_node_whose_agent_is_dead_delays_its_own_pods_only(
    lab: Lab,
    world: World,
    start: Callable[..., ControllerProcess],
) -> None:
    """On the same networks as those of the others."""
    daemon = start('one', '[sriov_controller]\nworkers = 4\n')
    daemon.wait_working()
    dead = [
        world.make_pod(f'dead{number}', node='node-dead')
        for number in range(12)
    ]
    world.wait_says(dead[0], 'Requested', 'False', 'ProviderUnavailable')
    well = [world.make_pod(f'well{number}', node=NODE) for number in range(6)]
    world.wait_promised(*well)
    assert {*lab.port_owners()} >= {pod.uid for pod in well}
    for pod in dead:
        assert world.says(pod, 'Requested')[0] != 'True'
        world.delete_pod(pod.name)
    for pod in well:
        world.delete_pod(pod.name)
    wait_for(lambda: not world.ports(), SECONDS, 'all port objects to go')
    assert lab.port_owners() == []


def test_a_vf_that_no_agent_sees_delays_no_other_pods(
    lab: Lab,
    world: World,
    start: Callable[..., ControllerProcess],
    node: Kubernetes,
) -> None:
    """Of the same network, with one worker and minutes for it to be seen."""
    one_worker = '[sriov_controller]\nworkers = 1\n'
    start('one', one_worker, active_timeouts='intel.com/physnet22:600')
    pods = [
        world.make_pod(name, 'sriov-net1', node=NODE)
        for name in ('unseen', 'well')
    ]
    unseen, well = pods
    wait_for(
        lambda: all(world.says(pod, 'Active')[0] for pod in pods),
        SECONDS,
        'both to be promised',
    )
    ports = world.ports()
    places = {unseen: '0000:02:10.0', well: '0000:02:10.2'}
    vfs = {
        pod: {'mac': ports[pod.uid].vifs[0].mac, 'pci_slot': pci}
        for pod, pci in places.items()
    }
    lab.neutron.set_vfs({NODE: [vfs[well]]})
    for pod in pods:
        report(node, ports[pod.uid], pcis=[places[pod]])
        wait_for(
            lambda pod=pod: has_place(lab, pod),  # type: ignore[misc]
            SECONDS,
            f'Neutron to know the VF of {pod}',
        )
    world.wait_says(well, 'Active', 'True', 'Activated')
    assert world.says(unseen, 'Active')[0] != 'True'
    lab.neutron.set_vfs({NODE: [*vfs.values()]})
    world.wait_says(unseen, 'Active', 'True', 'Activated')
