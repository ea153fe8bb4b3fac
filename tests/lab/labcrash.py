# SPDX-License-Identifier: Apache-2.0
"""Processes that are killed, with SIGKILL, at every point that they pass.

That is before each step of a pipeline, each write to sysfs and each change
by netlink.
"""

from __future__ import annotations

import dataclasses
import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import labpods
from labnode import Device, Netns
from labpods import make_vif

from kuryr_sriov import model
from kuryr_sriov.host.linux import NodeHost
from kuryr_sriov.host.pci_binding import Sysfs, put_text
from kuryr_sriov.node import Node
from kuryr_sriov.testing.fixtures.interruption import CHANGES, tell_beginnings

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


class Mortal:
    """Passes a point before each change of links, or of RDMA devices."""

    def __init__(self, target: object, points: Points) -> None:
        self._target = target
        self._points = points

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)
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
        self.links: Any = Mortal(self.links, points)
        self.rdma: Any = Mortal(self.rdma, points)

    def _put(self, path: Path, text: str) -> None:
        self._points(path.name)
        put_text(path, text)


class Doomed:
    """Has processes use the library, and be killed.

    :param options: of kuryr.conf, besides those of ``labpods``.
    :ivar node: the library; in this process it lives.
    :ivar passed: the points that the last process has passed.
    :ivar seen: those that any has passed.
    """

    def __init__(self, folder: Path, **options: str) -> None:
        self.passed: list[str] = []
        self.seen: set[str] = set()
        self._words = folder / 'words'
        self._points = Points(self._words)
        self.node = labpods.start(
            folder,
            host=MortalHost(self._points),
            observe=tell_beginnings(self._points),
            options=options,
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


class Pod:
    """A pod with VFs, and their states before.

    :param macs: of the VFs, where they are not for us to choose.
    """

    def __init__(
        self,
        netns: Netns,
        vfs: Sequence[Device],
        drivers: Sequence[str],
        macs: Sequence[str] = (),
    ) -> None:
        self.netns = netns
        self.vfs = vfs
        self.before = self.states()
        self._drivers = drivers
        self._macs = macs
        self._numbers = itertools.count(1)
        self.renew()

    def renew(self) -> None:
        """Have it ask for other ports: no VF starts with their MACs."""
        self.vifs = [
            make_vif(next(self._numbers), driver, ifname=ifname, mtu=1400)
            for driver, ifname in zip(self._drivers, IFNAMES, strict=False)
        ]
        if self._macs:
            self.vifs = [
                dataclasses.replace(vif, mac=mac)
                for vif, mac in zip(self.vifs, self._macs, strict=True)
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


def die_everywhere_in_attach(doomed: Doomed, pod: Pod) -> None:
    """Have ADD killed at each point that it passes; a start follows."""
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


def die_everywhere_in_detach(doomed: Doomed, pod: Pod) -> None:
    """Have DEL killed at each point that it passes; it is repeated."""
    for left in itertools.count():
        pod.attach(doomed.node)
        died = doomed.dies(left, pod.detach)
        if died:
            pod.detach(doomed.node)
        assert pod.is_gone(doomed.node), doomed.passed
        if not died:
            break
