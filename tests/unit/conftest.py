# SPDX-License-Identifier: Apache-2.0
"""Network namespaces of the running kernel, for tests that need them."""

import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess

import pytest

from kuryr_sriov.host import netns

SECONDS = 5


class NetworkNamespaces:
    """Makes them, and takes away what it has made."""

    def __init__(self):
        self._numbers = itertools.count()
        self._made = []

    def __call__(self):
        """A new one's path."""
        name = f'kuryr-test-{os.getpid()}-{next(self._numbers)}'
        self.ip('netns', 'add', name)
        path = f'/run/netns/{name}'
        self._made.append(path)
        return path

    def veth(self, one, other):
        """A pair, each in a netns of its own: netns and index, other netns."""
        here, there = self(), self()
        self.ip(
            *('link', 'add', one, 'netns', self.name(here), 'type', 'veth'),
            *('peer', 'name', other, 'netns', self.name(there)),
        )
        return here, self.index(here, one), there

    def name(self, path):
        return os.path.basename(path)

    def ip(self, *arguments):
        done = subprocess.run(
            ('ip', *arguments), check=True, capture_output=True, text=True
        )
        return done.stdout

    def _links(self, path):
        return json.loads(self.ip('-j', '-n', self.name(path), 'link'))

    def index(self, path, ifname):
        (index,) = (
            link['ifindex']
            for link in self._links(path)
            if link['ifname'] == ifname
        )
        return index

    def indices(self, path):
        return [link['ifindex'] for link in self._links(path)]

    def up(self, path, ifname):
        self.ip('-n', self.name(path), 'link', 'set', ifname, 'up')

    @contextlib.contextmanager
    def listen(self, path, ifname):
        """A function that gives the next frame there that satisfies one."""
        every = 3  # ETH_P_ALL
        with netns.open_socket(
            path, socket.AF_PACKET, socket.SOCK_RAW
        ) as packets:
            packets.bind((ifname, every))
            packets.settimeout(SECONDS)

            def receive(wanted):
                while True:
                    frame = packets.recv(2048)
                    if wanted(frame):
                        return frame

            yield receive

    def take_home(self, path, ifname):
        """Move it to the node's own netns; its index there.

        It goes away with the netns of its peer.
        """
        self.ip('-n', self.name(path), 'link', 'set', ifname, 'netns', '1')
        return socket.if_nametoindex(ifname)

    def delete(self, path):
        self._made.remove(path)
        self.ip('netns', 'delete', self.name(path))

    def close(self):
        for path in list(self._made):
            self.delete(path)


@pytest.fixture
def netnses():
    if os.geteuid() != 0:
        pytest.skip('NOT ROOT: NO NETWORK NAMESPACE IS TESTED')
    if not shutil.which('ip'):
        pytest.skip('NO iproute2: NO NETWORK NAMESPACE IS TESTED')
    made = NetworkNamespaces()
    yield made
    made.close()
