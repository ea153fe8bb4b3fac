# SPDX-License-Identifier: Apache-2.0
"""Both servers, from nothing to the networks of the how-to."""

from __future__ import annotations

import pathlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from faults import FaultProxy
from openstack.exceptions import NotFoundException
from servers import LOOPBACK, ReservedPort, Running, wait_for

from .install import ensure_installed, server_environment
from .keystone import USERS, Keystone
from .neutron import AGENTS, Network, Neutron, make_network

REGION = 'RegionOne'
PROXIED = 'RegionProxied'
"""The region whose Neutron is the same one, behind the proxy."""

OUTSIDE = 'RegionOutside'
"""That one as an emulated machine has it, to which this host's loopback is
`OUTSIDE_ADDRESS`."""

OUTSIDE_ADDRESS = '10.0.2.2'


class Lab(Running):
    """Keystone, Neutron and a proxy in front of it; a context manager.

    :ivar net22: network and subnet of the how-to on physnet22, VLAN 3501.
    :ivar net23: the same on physnet23, VLAN 3502.
    """

    net22: Network
    net23: Network

    def __init__(self, folder: pathlib.Path) -> None:
        python = ensure_installed()
        env = server_environment()
        self._ports = (ReservedPort(), ReservedPort())
        self.folder = folder
        self.keystone = Keystone(
            python, folder / 'keystone', self._ports[0], env
        )
        self.neutron = Neutron(
            python, folder / 'neutron', self._ports[1], self.keystone.url, env
        )
        self.proxy = FaultProxy(self._ports[1].number)
        self.admin: Any = None

    def start(self) -> None:
        self.proxy.start()
        # each takes one of two cores while it imports itself
        with ThreadPoolExecutor(2) as pool:
            neutron = pool.submit(self.neutron.server.start)
            pool.submit(self._start_keystone).result()
            neutron.result()
        self.admin = self.keystone.connect()
        self.make_networks()
        wait_for(self._agents_alive, 60, 'the agents to report')
        self.neutron.forget_heartbeat('node-dead')

    def make_networks(self) -> None:
        """Those of the how-to, as its administrator would."""
        self.net22 = make_network(
            self.admin, 'physnet22', 3501, '192.168.2.0/24'
        )
        self.net23 = make_network(
            self.admin, 'physnet23', 3502, '192.168.3.0/24'
        )

    def _start_keystone(self) -> None:
        self.keystone.server.start()
        self.keystone.populate(
            {
                REGION: self.neutron.url,
                PROXIED: self.proxy.url,
                OUTSIDE: self.proxy.url.replace(LOOPBACK, OUTSIDE_ADDRESS),
            }
        )

    def _agents_alive(self) -> bool:
        agents = self.admin.network.agents()
        return sum(agent.is_alive for agent in agents) >= len(AGENTS)

    def stop(self) -> None:
        """End everything that was started. Idempotent."""
        if self.admin is not None:
            self.admin.close()
            self.admin = None
        self.neutron.server.stop()
        self.keystone.server.stop()
        self.proxy.stop()
        for port in self._ports:
            port.release()

    def auth(self, user: str = 'kuryr') -> dict[str, str]:
        """The ``auth`` part of clouds.yaml for one of ``USERS``."""
        return self.keystone.auth(user, USERS[user][0])

    def clear(self) -> None:
        """End all faults; no port is left, and no VF in use."""
        self.proxy.reset()
        self.neutron.set_vfs({})
        for port in list(self.admin.network.ports()):
            self.admin.network.delete_port(port.id)

    def port_owners(self) -> list[str]:
        """Whose all ports are: ``device_id``, one for each port."""
        while True:
            ports = self.admin.network.ports()
            try:
                return sorted(port.device_id for port in ports)
            except NotFoundException:
                # The last port of a page was deleted before the next page.
                continue
