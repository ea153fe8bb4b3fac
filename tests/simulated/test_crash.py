# SPDX-License-Identifier: Apache-2.0
"""A kill at every step of attach and detach, and a clean recovery each time.

Whatever lasts is a change of the node or a commit of the ledger; before
each of them is a point at which a process may die.
"""

import errno
import itertools

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.cmd.demo import mortal_process
from kuryr_sriov.cmd.demo.shared_kernel import KernelServer
from kuryr_sriov.host.locks import PfLocks
from kuryr_sriov.testing.fixtures.interruption import Killed

STEPS = (
    'allocate',
    'pair',
    'lock',
    'reclaim',
    'record',
    'connect',
    'report',
    'confirm',
    'confirmed',
)


class Death:
    """Comes to the process that passes the point after ``left`` others.

    The dead change nothing: each later point of that process is refused
    too. None lets the next process live.
    """

    def __init__(self):
        self.left = None
        self.last_words = []

    def __call__(self, name):
        if self.left == 0:
            raise Killed(name)
        if self.left:
            self.left -= 1
            self.last_words.append(name)

    def comes(self, world, left, act):
        """Whether it came to ``act``, called with a node of its own."""
        with world.start(observe_beginnings=self) as node:
            self.left, self.last_words = left, []
            try:
                act(node)
            except Killed:
                return True
            finally:
                self.left = None
        return False


@pytest.fixture
def death(world):
    death = Death()
    world.node.on_change(death)
    return death


@pytest.fixture
def pod(world):
    """A sandbox with two VFs, and its VIFs."""
    sandbox = world.sandbox(1, world.vf(0, 0), world.vf(1, 0))
    return sandbox, world.both()


def assert_as_before(world, node, before, death):
    assert world.node.state() == before, death.last_words
    assert node.ledger.all() == (), death.last_words


def assert_usable(world, node, pod):
    """The VFs can be had, and given back, as if nothing had been."""
    before = world.node.state()
    sandbox, vifs = pod
    assert len(node.attach(sandbox, vifs)) == len(vifs)
    node.check(sandbox.container_id)
    node.detach(sandbox.container_id)
    assert world.node.state() == before


@pytest.mark.parametrize('pinned', [False, True])
def test_a_kill_at_any_point_of_attach(world, death, pod, pinned):
    """Also where an operator has pinned the VFs to drivers, and a MAC."""
    if pinned:
        host = world.node.host
        pf = host.pci.device('0000:02:00.1').ifindex
        settings = model.VfSettings(mac='02:00:00:00:99:01')
        host.links.set_vf(pf, 0, settings)
        host.pci.set_override(world.vf(0, 0).pci, 'vfio-pci', 5)
        host.pci.set_override(world.vf(1, 0).pci, 'igbvf', 5)
    before = world.node.state()
    seen = set()
    for left in itertools.count():
        if not death.comes(world, left, lambda node: node.attach(*pod)):
            break
        seen.update(death.last_words)
        with world.start() as node:
            node.reconcile()
            if death.last_words[-1:] == ['confirm']:  # it outlives the process
                node.check(pod[0].container_id)
                node.detach(pod[0].container_id)
            assert_as_before(world, node, before, death)
            assert_usable(world, node, pod)
    assert seen >= {*STEPS[:-1], 'set_vf', 'bind', 'add_address'}
    with world.start() as node:
        assert not node.reconcile().restored
        node.check(pod[0].container_id)


def test_a_kill_at_any_point_of_attach_and_the_runtime_adds_again(
    world, death, pod
):
    """Without a restart in between: ADD alone clears what it finds."""
    before = world.node.state()
    for left in itertools.count():
        if not death.comes(world, left, lambda node: node.attach(*pod)):
            break
        with world.start() as node:
            node.attach(*pod)
            node.check(pod[0].container_id)
            node.detach(pod[0].container_id)
            assert_as_before(world, node, before, death)
    assert left > len(STEPS)


def test_a_kill_at_any_point_of_taking_back_a_failed_attach(world, death, pod):
    world.node.refuse('0000:02:00.1', {'vlan': errno.EINVAL})
    before = world.node.state()

    def fail(node):
        with pytest.raises(exceptions.UnsupportedSetting):
            node.attach(*pod)

    for left in itertools.count():
        if not death.comes(world, left, fail):
            break
        with world.start() as node:
            node.reconcile()
            assert_as_before(world, node, before, death)
    assert {'undo-wire', 'restore', 'forget'} <= set(death.last_words)


@pytest.mark.parametrize('sandbox_gone', [False, True])
def test_a_kill_at_any_point_of_detach(world, death, pod, sandbox_gone):
    """The runtime repeats DEL; or the sandbox ends, and nobody does."""
    before = world.node.state()
    sandbox, vifs = pod
    for left in itertools.count():
        if not world.node.host.links.alive(sandbox.netns):
            world.node.add_netns(sandbox.netns)
        with world.start() as node:
            node.attach(sandbox, vifs)
        died = death.comes(
            world, left, lambda node: node.detach(sandbox.container_id)
        )
        with world.start() as node:
            if sandbox_gone:
                world.node.delete_netns(sandbox.netns)
                node.reconcile()
            elif died:
                node.detach(sandbox.container_id)
            assert_as_before(world, node, before, death)
        if not died:
            break
    assert {'restore', 'unbind', 'set', 'forget'} <= set(death.last_words)


def test_a_kill_at_any_point_of_reconcile(world, death, pod):
    """Of an attach that had come as far as it can without being done."""
    before = world.node.state()

    def die(step):
        if step == 'confirm':
            raise Killed

    for left in itertools.count():
        with (
            world.start(observe_beginnings=die) as node,
            pytest.raises(Killed),
        ):
            node.attach(*pod)
        died = death.comes(world, left, lambda node: node.reconcile())
        with world.start() as node:
            assert bool(node.reconcile().restored) == died
            assert_as_before(world, node, before, death)
        if not died:
            break
    assert {'restore', 'unbind', 'forget'} <= set(death.last_words)


def kill(world, point, method, *arguments):
    """Have another process call a method of Node, and die at ``point``."""
    with KernelServer(world.node.host.call) as server:
        file = str(world.path / 'kuryr.conf')
        calls = ((method, arguments),)
        task = mortal_process.Task(server.address, (file,), calls, point)
        mortal_process.run_until_killed(task)


def assert_nobody_holds_a_lock(world):
    locks = PfLocks(world.path / 'state' / 'locks', timeout=0)
    with locks.hold(['0000:02:00.0', '0000:02:00.1']):
        pass


@pytest.mark.parametrize(
    'point',
    [*STEPS[:-1], 'set_vf', 'driver_override', 'bind', 'set', 'add_address'],
)
def test_a_process_that_is_killed_in_attach(world, pod, point):
    sandbox, vifs = pod
    devices = world.allocated[sandbox.pod.uid]
    before = world.node.state()
    with world.start() as node:
        kill(world, point, 'attach', sandbox, vifs, devices)
        assert_nobody_holds_a_lock(world)
        node.reconcile()
        assert world.node.state() == before
        assert node.ledger.all() == ()
        assert_usable(world, node, pod)


def test_a_process_that_is_killed_when_all_is_in_place(world, pod):
    sandbox, vifs = pod
    devices = world.allocated[sandbox.pod.uid]
    with world.start() as node:
        kill(world, 'confirmed', 'attach', sandbox, vifs, devices)
        assert_nobody_holds_a_lock(world)
        assert not node.reconcile().restored
        node.check(sandbox.container_id)


@pytest.mark.parametrize(
    'point', ['restore', 'set_vf', 'unbind', 'set', 'forget']
)
def test_a_process_that_is_killed_in_detach(world, pod, point):
    sandbox, vifs = pod
    before = world.node.state()
    with world.start() as node:
        node.attach(sandbox, vifs)
        kill(world, point, 'detach', sandbox.container_id)
        assert_nobody_holds_a_lock(world)
        node.detach(sandbox.container_id)
        assert world.node.state() == before
        assert node.ledger.all() == ()
