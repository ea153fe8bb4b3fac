# SPDX-License-Identifier: Apache-2.0
"""A simulated node for each test."""

import pytest
from guestworld import GuestWorld
from worlds import PFS, World


@pytest.fixture
def pfs():
    """The PFs of the node."""
    return PFS


@pytest.fixture
def world(tmp_path, pfs):
    world = World(tmp_path, pfs)
    yield world
    for node in world.open_nodes:
        node.close()
    world.node.close()


@pytest.fixture
def make_guest(tmp_path):
    """Makes the world of a VM."""
    made = []

    def make(**more):
        made.append(GuestWorld(tmp_path, **more))
        return made[-1]

    yield make
    for world in made:
        for node in world.open_nodes:
            node.close()
        world.node.close()


@pytest.fixture
def guest(make_guest):
    """A VM whose VFs go into pods with their netdev."""
    return make_guest()
