# SPDX-License-Identifier: Apache-2.0
"""Neutron and Keystone, with the networks that the how-to makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from neutronlab.lab import OUTSIDE, OUTSIDE_ADDRESS, Lab
from neutronlab.neutron import Network
from servers import LOOPBACK

from . import page

OPTIONS: dict[tuple[str, str], dict[str, str]] = {
    ('network', 'create'): {
        '--provider-network-type': 'provider_network_type',
        '--provider-physical-network': 'provider_physical_network',
        '--provider-segment': 'provider_segmentation_id',
    },
    ('subnet', 'create'): {
        '--network': 'network_id',
        '--subnet-range': 'cidr',
    },
}
"""What the SDK calls the options of ``openstack`` that the page uses."""

SUBNETS = {
    'net22': '4c1b7b86-9d5e-4c39-8d0e-3a6a5d0b2f22',
    'net23': '9a0f6f0d-54b7-4a0e-b1d4-0f5b6c7e2f23',
}
"""The how-to's, which everybody replaces by those that Neutron made."""


class Cloud(Lab):
    """The how-to's third step is done when it has been started."""

    def make_networks(self) -> None:
        for block in page.section(3):
            for words in block.commands():
                self._run(words)
        self.net22 = self._find('vlan-sriov-net-1')
        self.net23 = self._find('vlan-sriov-net-2')

    def localize(self, text: str) -> str:
        """A file of the how-to with the subnets that Neutron made."""
        for name, subnet in SUBNETS.items():
            text = text.replace(subnet, getattr(self, name).subnet)
        return text

    def credentials(self) -> str:
        """``neutron.conf``: a user with the roles of the how-to."""
        auth = self.auth() | {'region_name': OUTSIDE}
        auth['auth_url'] = auth['auth_url'].replace(LOOPBACK, OUTSIDE_ADDRESS)
        auth |= {'auth_type': 'password', 'cluster': 'blue'}
        lines = [f'{name} = {value}' for name, value in auth.items()]
        return '\n'.join(['[neutron]', *lines, ''])

    def _run(self, words: Sequence[str]) -> None:
        """Do by the SDK what a command of ``openstack`` would.

        :raises KeyError: it has an option that is not known here.
        """
        program, kind, action, *rest = words
        assert program == 'openstack', words
        known = OPTIONS[kind, action]
        values: dict[str, Any] = {'name': rest.pop()}
        while rest:
            option = rest.pop(0)
            if option == '--share':
                values['is_shared'] = True
            else:
                values[known[option]] = rest.pop(0)
        network = self.admin.network
        if kind == 'network':
            # of a wire as most clouds have it; Neutron here has jumbo frames
            network.create_network(mtu=1500, **values)
            return
        name = values.pop('network_id')
        found = network.find_network(name, ignore_missing=False)
        network.create_subnet(network_id=found.id, ip_version=4, **values)

    def _find(self, name: str) -> Network:
        found = self.admin.network.find_network(name, ignore_missing=False)
        (subnet,) = self.admin.network.subnets(network_id=found.id)
        return Network(
            found.id,
            subnet.id,
            found.provider_physical_network,
            found.provider_segmentation_id,
        )
