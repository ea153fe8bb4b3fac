# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the lab; outside of it every test here is skipped."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import labcards
import labcrash
import labnode
import labpods
import pytest

from kuryr_sriov import model
from kuryr_sriov.node import Node


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave out what is for another machine; outside of the lab, skip all."""
    here = __file__.rpartition('/')[0]
    ours = [item for item in items if str(item.path).startswith(here)]
    if not labnode.in_lab():
        for item in ours:
            item.add_marker(pytest.mark.skip(reason='needs "make lab"'))
        return
    machine = labnode.topology()
    others = [item for item in ours if machine_of(item) != machine]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


def machine_of(item: pytest.Item) -> str:
    """The machine that a test is for, by its marker ``topology``."""
    marker = item.get_closest_marker('topology')
    return str(marker.args[0]) if marker else 'default'


@pytest.fixture(scope='session')
def lab() -> labnode.Lab:
    """The node, with its PFs."""
    return labnode.Lab()


@pytest.fixture
def make_vfs() -> Callable[..., list[labnode.VirtualFunction]]:
    """``make_vfs(pf, count)``: the PF's first VFs, as if made anew.

    Without a count: as many as the topology says. There may be more of them
    than asked for: a test about the number itself says ``pf.make_vfs(n)``.
    """

    def make(
        pf: labnode.PhysicalFunction, count: int | None = None
    ) -> list[labnode.VirtualFunction]:
        return pf.lend_vfs(pf.usual_vfs if count is None else count)

    return make


@pytest.fixture
def lend(lab: labnode.Lab) -> labcards.LendCard:
    """``lend(name)``: a card without PF, as the kernel has made it."""
    return functools.partial(labcards.lend_card, lab)


@pytest.fixture(params=labcards.CARDS)
def card(
    request: pytest.FixtureRequest, lend: labcards.LendCard
) -> labnode.PlainFunction:
    """Each of them in turn."""
    return lend(request.param)


@pytest.fixture
def make_netns() -> Iterator[Callable[[], labnode.Netns]]:
    """``make_netns()``: a network namespace, deleted after the test.

    The test may have deleted it before.
    """
    made: list[labnode.Netns] = []
    numbers = itertools.count(1)

    def make() -> labnode.Netns:
        netns = labnode.Netns(f'pod{next(numbers)}')
        labnode.run('ip', 'netns', 'add', netns.name)
        made.append(netns)
        netns.run('ip', 'link', 'set', 'lo', 'up')
        return netns

    yield make
    for netns in made:
        if os.path.exists(netns.path):
            netns.clear()


@pytest.fixture
def options() -> dict[str, str]:
    """More of ``[sriov]``, by which a test starts the library."""
    return {}


@pytest.fixture
def node(tmp_path: Path, options: dict[str, str]) -> Iterator[Node]:
    """The library on this node."""
    with labpods.start(tmp_path, options) as node:
        yield node


@pytest.fixture
def doomed(
    tmp_path: Path, options: dict[str, str]
) -> Iterator[labcrash.Doomed]:
    """The library in processes that are killed."""
    doomed = labcrash.Doomed(tmp_path, **options)
    yield doomed
    doomed.node.close()


@pytest.fixture
def attach(
    node: Node, make_netns: Callable[[], labnode.Netns]
) -> Callable[..., labnode.Netns]:
    """``attach(vf, vif)``: a new pod that the library has wired."""

    def attach(vf: labnode.VirtualFunction, vif: model.Vif) -> labnode.Netns:
        netns = make_netns()
        labpods.attach(node, vf, vif, netns)
        return netns

    return attach
