# SPDX-License-Identifier: Apache-2.0
"""The cards of a virtual machine are ports, as its config drive tells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import labnode
import metadata
import pytest
from labcards import CARDS, LendCard, MakeNetns
from labpods import KERNEL, USERSPACE, attach, give
from labprograms import drive

from kuryr_sriov import exceptions, model
from kuryr_sriov.node import Node

pytestmark = pytest.mark.topology('guest')

BUSYBOX = '/run/lab-base/busybox'


@pytest.fixture
def config_drive(tmp_path: Path, lend: LendCard) -> Iterator[str]:
    """The block device of a config drive, as Nova makes it on FAT."""
    image, folder = tmp_path / 'drive', tmp_path / 'mounted'
    with open(image, 'wb') as out:
        out.truncate(4 << 20)
    labnode.run(BUSYBOX, 'mkdosfs', '-n', 'config-2', str(image))
    device = labnode.run('losetup', '--show', '--find', str(image)).strip()
    folder.mkdir()
    labnode.run('mount', '-t', 'vfat', device, str(folder))
    metadata.write_config_drive(folder, [lend(name).mac for name in CARDS])
    labnode.run('umount', str(folder))
    yield device
    labnode.run('losetup', '--detach', device)


@pytest.fixture
def options(config_drive: str) -> dict[str, str]:
    return {'node_is_guest': 'true', 'instance_metadata': config_drive}


def promise(driver: str, network: str) -> model.Vif:
    """What the controller promises to a pod on such a node."""
    return model.Vif(
        id='',
        ifname='net1',
        network='default/lab',
        resource=f'intel.com/{driver}',
        physnet=driver,
        mac='',
        provider_network=network,
    )


def test_an_interface_is_the_port_that_nova_made(
    node: Node, lend: LendCard, make_netns: MakeNetns
) -> None:
    card, pod = lend('gigabit'), make_netns()

    given = give(node, card, promise(KERNEL, metadata.NETWORK_A), pod)

    assert given.attached.vif.id == metadata.PORTS[0]
    link = pod.link('net1')
    assert (link['address'], link['mtu']) == (card.mac, 1450)
    shown = pod.run('ip', 'address', 'show', 'dev', 'net1')
    assert '192.168.2.7/24' in shown
    assert 'fd00:2::7/64' in shown
    node.check(pod.name)
    assert given.comes_home()


def test_a_program_has_the_port_that_nova_made(
    node: Node, lend: LendCard, make_netns: MakeNetns
) -> None:
    card, pod = lend('virtual'), make_netns()
    promised = promise(USERSPACE, metadata.NETWORK_B)

    given = give(node, card, promised, pod)

    assert given.attached.vif.id == metadata.PORTS[1]
    assert given.attached.vif.addresses == ('192.168.3.7/24',)
    with drive(card, given.attached.device_info.device_nodes[1]):
        node.check(pod.name)
    assert given.comes_home()


def test_a_card_on_another_network_is_refused(
    node: Node, lend: LendCard, make_netns: MakeNetns
) -> None:
    card = lend('gigabit')
    before = card.state()
    with pytest.raises(exceptions.KuryrSriovError) as caught:
        attach(node, card, promise(KERNEL, metadata.NETWORK_B), make_netns())
    assert metadata.NETWORK_A in str(caught.value)
    assert metadata.NETWORK_B in str(caught.value)
    assert card.state() == before
    assert node.ledger.all() == ()
