# SPDX-License-Identifier: Apache-2.0
"""What stands still for one pod delays no other: the order says so.

Each test has a pod of the first PF stand still somewhere, for as long as pods
of the second PF come, are looked at, and go.
"""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from kuryr_sriov.binding.netdevice import NetdeviceDriver
from kuryr_sriov.host.locks import PfLocks

PF = '0000:02:00.0'
SLOW = 12  # far longer than any of it may take; what waits for it has failed


class Gate:
    """Where somebody stands still, until the others are done."""

    def __init__(self):
        self.reached = threading.Event()
        self.opened = threading.Event()

    def wait(self):
        self.reached.set()
        assert self.opened.wait(SLOW)


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.opened.set()


@contextlib.contextmanager
def at_the_kubelet(world, gate):
    """It says nothing of this pod."""
    answer = world.allocations

    def hang(pod):
        if pod.uid == 'uid-1':
            gate.wait()
        return answer(pod)

    world.allocations = hang
    yield


@contextlib.contextmanager
def at_the_lock_of_its_pf(world, gate):
    """Another process configures it."""
    with PfLocks(world.path / 'state' / 'locks', SLOW).hold([PF]):
        gate.reached.set()
        yield
        assert gate.opened.wait(SLOW)


@contextlib.contextmanager
def at_its_pf(world, gate):
    """The firmware takes its time."""
    links = world.node.host.links
    index, set_vf = world.node.host.pci.device(PF).ifindex, links.set_vf

    def hang(pf_index, *arguments):
        if pf_index == index:
            gate.wait()
        set_vf(pf_index, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(links, 'set_vf', hang)
        yield


@contextlib.contextmanager
def at_its_driver(world, gate):
    """A program has the VF open, and the kernel waits for it."""
    pci = world.vf(0, 0).pci
    put = world.node.host.pci._put

    def write(path, text):
        if text == pci and path.name == 'unbind':
            gate.reached.set()
        put(path, text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.node.host.pci, '_put', write)
        with world.node.held(pci):
            yield
            assert gate.opened.wait(SLOW)


PLACES = at_the_kubelet, at_the_lock_of_its_pf, at_its_pf, at_its_driver


@pytest.fixture
def node(world):
    """Nothing that is waited for ends by itself."""
    world.timeout = SLOW
    world.text += (
        f'attachment_timeout = {2 * SLOW}\npf_lock_timeout = {SLOW}\n'
    )
    return world.start(allocations=lambda pod: world.allocations(pod))


def others_come_and_go(world, node, done):
    """Two pods of the second PF; what is waited for too long is an error."""
    for pod in (2, 3):
        sandbox = world.sandbox(pod, world.vf(1, pod - 2))
        vifs = [world.vif('net1', 1)]
        node.attach(sandbox, vifs, timeout=SLOW / 4)
        node.announce(sandbox.container_id)
        node.check(sandbox.container_id)
        node.attach(sandbox, vifs, timeout=SLOW / 4)
        done.append(f'pod{pod} runs')
    for pod in (2, 3):
        node.detach(f'sandbox{pod}-1', timeout=SLOW / 4)
        done.append(f'pod{pod} is gone')


EXPECTED = 'pod2 runs', 'pod3 runs', 'pod2 is gone', 'pod3 is gone'


@pytest.mark.parametrize('stand_still', PLACES)
def test_an_attach_that_stands_still_delays_nobody(
    world, node, gate, stand_still
):
    before, done = world.node.state(), []
    sandbox = world.sandbox(1, world.vf(0, 0))

    def attach():
        node.attach(sandbox, [world.vif('net1', 0)])
        done.append('pod1 runs')

    with ThreadPoolExecutor() as threads:
        with contextlib.ExitStack() as stack:
            stack.callback(gate.opened.set)  # before what waits for it
            stack.enter_context(stand_still(world, gate))
            stack.callback(gate.opened.set)
            stuck = threads.submit(attach)
            assert gate.reached.wait(SLOW)
            others_come_and_go(world, node, done)
        stuck.result()
    assert done == [*EXPECTED, 'pod1 runs']
    node.detach(sandbox.container_id)
    assert world.node.state() == before


@pytest.mark.parametrize('stand_still', PLACES[1:])
def test_a_detach_that_stands_still_delays_nobody(
    world, node, gate, stand_still
):
    """It asks no kubelet."""
    before, done = world.node.state(), []
    sandbox = world.sandbox(1, world.vf(0, 0))
    node.attach(sandbox, [world.vif('net1', 0)])

    def detach():
        node.detach(sandbox.container_id)
        done.append('pod1 is gone')

    with ThreadPoolExecutor() as threads:
        with contextlib.ExitStack() as stack:
            stack.callback(gate.opened.set)
            stack.enter_context(stand_still(world, gate))
            stack.callback(gate.opened.set)
            stuck = threads.submit(detach)
            assert gate.reached.wait(SLOW)
            others_come_and_go(world, node, done)
        stuck.result()
    assert done == [*EXPECTED, 'pod1 is gone']
    assert world.node.state() == before


def test_a_pod_whose_neighbours_cannot_be_told_delays_nobody(
    world, node, gate, monkeypatch
):
    """Its PF has no carrier; it is after the answer, and under no lock."""
    done = []
    sandbox = world.sandbox(1, world.vf(1, 0))
    announce = NetdeviceDriver.announce

    def hang(driver, attachment):
        if attachment.sandbox == sandbox:
            gate.wait()
        announce(driver, attachment)

    monkeypatch.setattr(NetdeviceDriver, 'announce', hang)
    node.attach(sandbox, [world.vif('net1', 1)])

    def tell():
        node.announce(sandbox.container_id)
        done.append('pod1 was told of')

    other = world.sandbox(2, world.vf(1, 1))
    with ThreadPoolExecutor() as threads:
        stuck = threads.submit(tell)
        try:
            assert gate.reached.wait(SLOW)
            node.attach(other, [world.vif('net1', 1)], timeout=SLOW / 4)
            node.announce(other.container_id)
            node.detach(other.container_id, timeout=SLOW / 4)
            done.append('pod2 is gone')
        finally:
            gate.opened.set()
        stuck.result()
    assert done == ['pod2 is gone', 'pod1 was told of']
