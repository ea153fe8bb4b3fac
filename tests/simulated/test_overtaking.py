# SPDX-License-Identifier: Apache-2.0
"""A DEL that comes while ADD waits: nothing is wired into a dead sandbox."""

import threading

import pytest

from kuryr_sriov import exceptions
from kuryr_sriov.host.locks import PfLocks

SECONDS = 30


class Adding(threading.Thread):
    """An ADD in a thread of its own, and how it ended."""

    def __init__(self, node, sandbox, vifs):
        super().__init__()
        self._call = node.attach, sandbox, vifs
        self.outcome = None

    def run(self):
        attach, *arguments = self._call
        try:
            self.outcome = attach(*arguments)
        except exceptions.KuryrSriovError as error:
            self.outcome = error


@pytest.fixture
def kubelet(world):
    """Lets the ADD wait for its answer."""

    class Kubelet:
        asked, answers = threading.Event(), threading.Event()

        def __call__(self, pod):
            self.asked.set()
            assert self.answers.wait(SECONDS)
            return world.allocations(pod)

    kubelet = Kubelet()
    yield kubelet
    kubelet.answers.set()


@pytest.mark.parametrize('other_process', [False, True])
@pytest.mark.parametrize('ifname', ['', 'net2'])
def test_while_it_waits_for_the_kubelet(world, kubelet, other_process, ifname):
    before = world.node.state()
    node = world.start(allocations=kubelet)
    sandbox = world.sandbox(1, world.vf(0, 0), world.vf(1, 0))
    adding = Adding(node, sandbox, world.both())
    adding.start()
    assert kubelet.asked.wait(SECONDS)
    deleting = world.start() if other_process else node
    deleting.detach(sandbox.container_id, ifname)
    kubelet.answers.set()
    adding.join(SECONDS)
    assert isinstance(adding.outcome, exceptions.SandboxDeleted)
    assert world.node.state() == before
    assert node.attachments() == ()


def test_while_it_waits_for_a_lock(world):
    before = world.node.state()
    locking = threading.Event()

    def look(event):
        if (event.step, event.phase) == ('lock', 'started'):
            locking.set()

    node = world.start(observe=look)
    sandbox = world.sandbox(1, world.vf(0, 0), world.vf(1, 0))
    adding = Adding(node, sandbox, world.both())
    locks = PfLocks(world.path / 'state' / 'locks', timeout=SECONDS)
    with locks.hold(['0000:02:00.0']):
        adding.start()
        assert locking.wait(SECONDS)
        node.detach(sandbox.container_id)
    adding.join(SECONDS)
    assert isinstance(adding.outcome, exceptions.SandboxDeleted)
    assert world.node.state() == before
    assert node.attachments() == ()


def test_a_del_of_another_sandbox_stops_nothing(world, kubelet):
    node = world.start(allocations=kubelet)
    sandbox = world.sandbox(1, world.vf(0, 0), world.vf(1, 0))
    adding = Adding(node, sandbox, world.both())
    adding.start()
    assert kubelet.asked.wait(SECONDS)
    node.detach('sandbox2-1')
    kubelet.answers.set()
    adding.join(SECONDS)
    assert len(adding.outcome) == 2
    node.check(sandbox.container_id)


def test_a_del_once_it_is_on_record_waits_and_takes_it_back(world):
    before = world.node.state()
    wiring, go_on = threading.Event(), threading.Event()

    def look(event):
        if (event.step, event.phase) == ('wire', 'started'):
            wiring.set()
            assert go_on.wait(SECONDS)

    node = world.start(observe=look)
    sandbox = world.sandbox(1, world.vf(0, 0), world.vf(1, 0))
    adding = Adding(node, sandbox, world.both())
    adding.start()
    assert wiring.wait(SECONDS)
    deleting = threading.Thread(
        target=node.detach, args=[sandbox.container_id]
    )
    deleting.start()
    go_on.set()
    adding.join(SECONDS)
    deleting.join(SECONDS)
    assert world.node.state() == before
    assert node.attachments() == ()


def test_the_next_add_of_that_sandbox_is_served(world, kubelet):
    node = world.start(allocations=kubelet)
    sandbox = world.sandbox(1, world.vf(0, 0), world.vf(1, 0))
    adding = Adding(node, sandbox, world.both())
    adding.start()
    assert kubelet.asked.wait(SECONDS)
    node.detach(sandbox.container_id)
    kubelet.answers.set()
    adding.join(SECONDS)
    node.attach(sandbox, world.both())
    node.check(sandbox.container_id)
