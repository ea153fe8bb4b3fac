# SPDX-License-Identifier: Apache-2.0
"""A simulated node for each test."""

import pytest
from worlds import World


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    for node in world.open_nodes:
        node.close()
    world.node.close()
