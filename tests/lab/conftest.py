# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the lab; outside of it every test here is skipped."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import labnode
import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder as impossible on an ordinary machine."""
    if labnode.in_lab():
        return
    here = __file__.rpartition('/')[0]
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.skip(reason='needs "make lab"'))


@pytest.fixture(scope='session')
def lab() -> labnode.Lab:
    """The node, with its PFs."""
    return labnode.Lab()


@pytest.fixture
def make_vfs() -> Iterator[Callable[..., list[labnode.VirtualFunction]]]:
    """``make_vfs(pf, count)``: new VFs, removed after the test."""
    used: list[labnode.PhysicalFunction] = []

    def make(
        pf: labnode.PhysicalFunction, count: int | None = None
    ) -> list[labnode.VirtualFunction]:
        used.append(pf)
        return pf.make_vfs(count)

    yield make
    for pf in used:
        pf.remove_vfs()


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
            labnode.run('ip', 'netns', 'delete', netns.name)
