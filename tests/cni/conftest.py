# SPDX-License-Identifier: Apache-2.0
"""The CNI plugin, built once, and how a container runtime starts it."""

import subprocess

import pytest
from cnirun import SOURCES, Plugin
from kubelab.install import ensure_cnitool_installed
from nodedaemon import NodeWithDaemon
from worlds import World


@pytest.fixture(scope='session')
def program(tmp_path_factory):
    """Path of the plugin, freshly built; needs a C compiler and make."""
    folder = tmp_path_factory.mktemp('cni')
    command = ['make', '--quiet', '-C', SOURCES, f'BUILD={folder}']
    subprocess.run(command, check=True)
    return folder / 'kuryr-sriov'


@pytest.fixture
def plugin(program, tmp_path):
    """The plugin, with a socket where nobody listens so far."""
    return Plugin(program, tmp_path / 'cni.sock')


@pytest.fixture(scope='session')
def cnitool_program():
    return ensure_cnitool_installed() / 'cnitool'


@pytest.fixture
def node(tmp_path):
    """A simulated node; its daemon is to be started."""
    world = World(tmp_path)
    node = NodeWithDaemon(world)
    yield node
    node.close()
    world.node.close()
