# SPDX-License-Identifier: Apache-2.0
"""Pods of a node that is a virtual machine get the ports that Nova gave it.

The machine has a config drive in its CD drive. Nova's code wrote the file on
it, for ports with the MACs that the machine's cards have.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import labnode
import pytest
from labcards import CARDS, ONE_CARD, LendCard, MakeNetns
from labcrash import (
    IFNAMES,
    STEPS,
    Doomed,
    Pod,
    die_everywhere_in_attach,
    die_everywhere_in_detach,
)
from labnode import PlainFunction
from labpods import KERNEL, USERSPACE, attach
from metadata import NETWORK_A, NETWORK_B, PORTS

from kuryr_sriov import exceptions, model
from kuryr_sriov.host import config_drive
from kuryr_sriov.host.instance_metadata import InstanceMetadata
from kuryr_sriov.node import Node

pytestmark = pytest.mark.topology('guest')

PORT_OF = {'gigabit': PORTS[0], 'virtual': PORTS[2]}
ADDRESSES_OF = {
    'gigabit': ('192.168.2.7/24', 'fd00:2::7/64'),
    'virtual': ('192.168.2.8/24',),
}
NODE_IS_GUEST = {'node_is_guest': 'true'}


def promise(
    driver: str, network: str = NETWORK_A, ifname: str = 'net1'
) -> model.Vif:
    """What the controller promises: no port yet."""
    return model.Vif(
        id='',
        ifname=ifname,
        network='default/lab',
        resource=f'intel.com/{driver}',
        physnet=driver,
        mac='',
        provider_network=network,
    )


class PromisedPod(Pod):
    """A pod of which the controller promised networks only."""

    def renew(self) -> None:
        """Have it ask for the same: its ports are the machine's own."""
        self.vifs = [
            promise(driver, ifname=ifname)
            for driver, ifname in zip(self._drivers, IFNAMES, strict=False)
        ]


@pytest.fixture
def options() -> dict[str, str]:
    return NODE_IS_GUEST


@pytest.fixture
def make_pod(
    lend: LendCard, make_netns: MakeNetns
) -> Callable[..., PromisedPod]:
    """``make_pod(*drivers)``: a pod with both cards."""

    def make(*drivers: str) -> PromisedPod:
        return PromisedPod(
            make_netns(), [lend(name) for name in CARDS], drivers
        )

    return make


def mounts() -> str:
    return Path('/proc/self/mountinfo').read_text()


def test_the_config_drive_is_found_by_its_label_and_leaves_no_mount() -> None:
    labnode.wait_for('the drive', Path(config_drive.LABEL).exists)
    before = mounts()
    metadata = InstanceMetadata(source='', timeout=20)
    assert metadata.source == config_drive.LABEL
    assert [port.id for port in metadata.list_ports()] == list(PORTS)
    assert mounts() == before
    kind = labnode.run('blkid', '-o', 'value', '-s', 'TYPE', metadata.source)
    assert kind == 'iso9660\n'


@pytest.mark.parametrize('driver', [KERNEL, USERSPACE])
def test_a_pod_has_the_port_that_its_function_is(
    node: Node, card: PlainFunction, make_netns: MakeNetns, driver: str
) -> None:
    before = card.state()
    pod = make_netns()
    attached = attach(node, card, promise(driver), pod)
    assert attached.vif.id == PORT_OF[card.name]
    assert attached.vif.mac == card.mac
    assert attached.vif.addresses == ADDRESSES_OF[card.name]
    assert attached.vif.mtu == 1450
    if driver == KERNEL:
        link = pod.link('net1')
        assert (link['address'], link['mtu']) == (card.mac, 1450)
        shown = pod.run('ip', 'address', 'show', 'net1')
        assert all(text in shown for text in attached.vif.addresses)
    node.check(pod.name)
    # again, where the function no longer shows its MAC
    assert attach(node, card, promise(driver), pod) == attached
    node.detach(pod.name)
    assert card.state() == before
    assert node.ledger.all() == ()


@ONE_CARD
def test_a_port_of_another_network_is_refused(
    node: Node, card: PlainFunction, make_netns: MakeNetns
) -> None:
    before = card.state()
    with pytest.raises(
        exceptions.NotAllocated, match=rf'{NETWORK_B}.*{NETWORK_A}'
    ):
        attach(node, card, promise(KERNEL, NETWORK_B), make_netns())
    assert card.state() == before
    assert node.ledger.all() == ()


def test_killed_in_attach(
    doomed: Doomed, make_pod: Callable[..., PromisedPod]
) -> None:
    die_everywhere_in_attach(doomed, make_pod(KERNEL, USERSPACE))
    assert doomed.seen >= {'identify', 'complete', *STEPS[:-1], 'set', 'bind'}


def test_killed_in_detach(
    doomed: Doomed, make_pod: Callable[..., PromisedPod]
) -> None:
    die_everywhere_in_detach(doomed, make_pod(USERSPACE, KERNEL))
    assert doomed.seen >= {'restore', 'set', 'unbind', 'bind', 'forget'}
