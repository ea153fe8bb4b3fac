# SPDX-License-Identifier: Apache-2.0
"""Other processes have the same simulated node, and may be killed."""

import errno
import multiprocessing
import os
import signal
import socket

import pytest

from kuryr_sriov import exceptions
from kuryr_sriov.cmd.demo.shared_kernel import KernelServer, connect_host
from kuryr_sriov.testing.simulation.simulated_node import Pf, SimulatedNode

PF, VF, OTHER = '0000:02:00.0', '0000:02:10.0', '0000:02:10.2'


@pytest.fixture
def node(tmp_path):
    return SimulatedNode(tmp_path, [Pf(PF, 'ens6', vfs=2)])


@pytest.fixture
def address(node):
    with KernelServer(node.host.call) as server:
        yield server.address


def test_operations_of_all_processes_are_counted(node, address):
    host = connect_host(address)
    host.links.find(VF, '')
    node.host.links.find(VF, '')
    node.host.pci.bind(VF, 'vfio-pci', 5)
    assert node.operations == {
        'find': 2,
        'unbind': 1,
        'driver_override': 2,
        'bind': 1,
    }


def test_another_process_has_the_same_node(node, address):
    host = connect_host(address)
    host.pci.bind(VF, 'vfio-pci', 5)
    assert host.pci.device(VF) == node.host.pci.device(VF)
    assert host.boot_id() == node.host.boot_id()
    index = host.pci.device(OTHER).ifindex
    assert host.links.get(index) == node.host.links.get(index)


def test_errors_are_the_same_there(node, address):
    host = connect_host(address)
    for links in (host.links, node.host.links):
        with pytest.raises(exceptions.KernelError, match='is gone') as caught:
            links.get(99)
        assert caught.value.errno == errno.ENODEV


def mortal(address, kills):
    """Attach, and be killed before the next change of that name."""
    host = connect_host(address)

    def kill(name):
        if name == kills:
            os.kill(os.getpid(), signal.SIGKILL)

    host.on_change(kill)
    host.pci.bind(VF, 'vfio-pci', 5)


@pytest.mark.parametrize(
    ('kills', 'driver', 'override'),
    [('unbind', 'igbvf', ''), ('bind', '', 'vfio-pci')],
)
def test_a_killed_process_leaves_what_it_has_done(
    node, address, kills, driver, override
):
    spawn = multiprocessing.get_context('spawn')
    process = spawn.Process(target=mortal, args=(address, kills))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    state = node.state()[VF]
    assert (state.driver, state.driver_override) == (driver, override)


@pytest.mark.parametrize('sent', [b'', b'\x80\x04\x95'])
def test_one_that_is_killed_while_it_asks_harms_nobody(address, sent, capfd):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        connection.sendall(sent)
    assert connect_host(address).pci.device(VF).driver == 'igbvf'
    assert capfd.readouterr().err == ''
