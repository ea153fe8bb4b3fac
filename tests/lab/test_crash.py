# SPDX-License-Identifier: Apache-2.0
"""The process is killed, with SIGKILL, at every point at which it can be.

That is before each step of a pipeline, each write to sysfs and each change
by netlink. The next start, or the DEL that the runtime repeats, puts every VF
back exactly.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import labpods
import pytest
from labnode import Lab, Netns, VirtualFunction
from labpods import KERNEL, USERSPACE, make_vif

from kuryr_sriov import model
from kuryr_sriov.host.linux import NodeHost
from kuryr_sriov.host.pci_binding import Sysfs, put_text
from kuryr_sriov.node import Node
from kuryr_sriov.testing.fixtures.interruption import CHANGES, tell_beginnings

MakeVfs = Callable[..., list[VirtualFunction]]
MakeNetns = Callable[[], Netns]
Act = Callable[[Node], object]
STEPS = (
    *('allocate', 'pair', 'lock', 'reclaim', 'record', 'connect'),
    *('report', 'confirm', 'confirmed'),
)
# Importing the library takes seconds there: the doomed are born with it.
PROCESSES = multiprocessing.get_context('fork')
DEADLINE = 120
IFNAMES = 'net1', 'net2'


class Points:
    """Kills this process at one of the points that it passes.

    :ivar left: how many to pass before; None to live.
    """

    def __init__(self, words: Path) -> None:
        self.left: int | None = None
        self._words = words

    def __call__(self, name: str) -> None:
        """Pass the point, or die there."""
        if self.left is None:
            return
        with open(self._words, 'a') as words:
            words.write(f'{name}\n')
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1


class MortalLinks:
    """Passes a point before each change."""

    def __init__(self, links: object, points: Points) -> None:
        self._links = links
        self._points = points

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._links, name)
        if name not in CHANGES:
            return method

        def change(*arguments: Any, **named: Any) -> Any:
            self._points(name)
            return method(*arguments, **named)

        return change


class MortalHost(NodeHost):
    """Passes a point before each change of a VF."""

    def __init__(self, points: Points) -> None:
        super().__init__()
        self._points = points
        self.pci = Sysfs(put=self._put)
        self.links: Any = MortalLinks(self.links, points)

    def _put(self, path: Path, text: str) -> None:
        self._points(path.name)
        put_text(path, text)


class Doomed:
    """Has processes use the library, and be killed.

    :ivar node: the library; in this process it lives.
    :ivar passed: the points that the last process has passed.
    :ivar seen: those that any has passed.
    """

    def __init__(self, folder: Path) -> None:
        self.passed: list[str] = []
        self.seen: set[str] = set()
        self._words = folder / 'words'
        self._points = Points(self._words)
        self.node = labpods.start(
            folder,
            host=MortalHost(self._points),
            observe=tell_beginnings(self._points),
        )

    def dies(self, left: int, act: Act) -> bool:
        """Whether *act* was killed, at the point after *left* others."""
        self._words.write_text('')
        self.node.close()  # no open ledger is carried over a fork
        process = PROCESSES.Process(target=self._live, args=(left, act))
        process.start()
        process.join(DEADLINE)
        status = process.exitcode
        process.kill()  # one that hangs
        self.passed = self._words.read_text().split()
        self.seen.update(self.passed)
        assert status in (0, -signal.SIGKILL), self.passed
        return status != 0

    def _live(self, left: int, act: Act) -> None:
        self._points.left = left
        act(self.node)


@pytest.fixture
def doomed(tmp_path: Path) -> Iterator[Doomed]:
    doomed = Doomed(tmp_path)
    yield doomed
    doomed.node.close()


class Pod:
    """A pod with VFs, and their states before."""

    def __init__(
        self,
        netns: Netns,
        vfs: Sequence[VirtualFunction],
        drivers: Sequence[str],
    ) -> None:
        self.netns = netns
        self.vfs = vfs
        self.before = self.states()
        self._drivers = drivers
        self._numbers = itertools.count(1)
        self.renew()

    def renew(self) -> None:
        """Have it ask for other ports: no VF starts with their MACs."""
        self.vifs = [
            make_vif(next(self._numbers), driver, ifname=ifname, mtu=1400)
            for driver, ifname in zip(self._drivers, IFNAMES, strict=False)
        ]

    def states(self) -> list[dict[str, Any]]:
        return [vf.state() for vf in self.vfs]

    def attach(self, node: Node) -> None:
        devices = [
            model.Device(vif.resource, vf.pci)
            for vif, vf in zip(self.vifs, self.vfs, strict=True)
        ]
        node.attach(labpods.sandbox(self.netns), self.vifs, devices)

    def detach(self, node: Node) -> None:
        node.detach(self.netns.name)

    def is_gone(self, node: Node) -> bool:
        """Whether nothing of it is left."""
        return self.states() == self.before and node.ledger.all() == ()


@pytest.fixture
def pod(lab: Lab, make_vfs: MakeVfs, make_netns: MakeNetns) -> Pod:
    """One VF for the kernel's driver, and one for a program's."""
    return Pod(make_netns(), make_vfs(lab.pfs[0], 2), (KERNEL, USERSPACE))


@pytest.fixture
def pinned(lab: Lab, make_vfs: MakeVfs, make_netns: MakeNetns) -> Pod:
    """A VF whose driver must be bound anew to take another MAC."""
    (vf,) = make_vfs(lab.pfs[0], 1)
    vf.configure('mac', '02:00:00:00:00:99')
    vf.configure('vlan', '7', 'qos', '3')
    return Pod(make_netns(), [vf], (KERNEL,))


def die_everywhere_in_attach(doomed: Doomed, pod: Pod) -> None:
    node = doomed.node
    for left in itertools.count():
        pod.renew()
        if not doomed.dies(left, pod.attach):
            break
        node.reconcile()
        if doomed.passed[-1:] == ['confirmed']:  # it outlives the process
            node.check(pod.netns.name)
            pod.detach(node)
        assert pod.is_gone(node), doomed.passed
    assert not node.reconcile().restored
    node.check(pod.netns.name)
    pod.detach(node)
    assert pod.is_gone(node)


def test_killed_in_attach(doomed: Doomed, pod: Pod) -> None:
    die_everywhere_in_attach(doomed, pod)
    assert doomed.seen >= {
        *(*STEPS[:-1], 'set_vf', 'set', 'add_address'),
        *('driver_override', 'unbind', 'bind'),
    }


def test_killed_in_attach_of_a_vf_with_a_pinned_mac(
    doomed: Doomed, pinned: Pod
) -> None:
    die_everywhere_in_attach(doomed, pinned)
    assert doomed.seen >= {*STEPS[:-1], 'set_vf', 'set', 'unbind', 'bind'}


def test_killed_in_detach(doomed: Doomed, pod: Pod) -> None:
    """The runtime repeats DEL."""
    for left in itertools.count():
        pod.attach(doomed.node)
        died = doomed.dies(left, pod.detach)
        if died:
            pod.detach(doomed.node)
        assert pod.is_gone(doomed.node), doomed.passed
        if not died:
            break
    assert doomed.seen >= {
        *('restore', 'set_vf', 'set', 'unbind', 'bind', 'forget'),
    }
