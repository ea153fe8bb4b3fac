# SPDX-License-Identifier: Apache-2.0
"""Nova's own words for an instance: from Neutron's to ``network_data.json``.

Runs in an environment that has Nova. Reads ``ports``, ``networks`` and
``subnets`` as Neutron's API answers them, and writes what Nova puts into the
config drive of an instance with these ports.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from nova import context
from nova.network import model, neutron
from nova.virt import netutils


class Answers:
    """A client of Neutron that answers from what was read before."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._told = told

    def list_subnets(self, id: list[str]) -> dict[str, Any]:
        found = [each for each in self._told['subnets'] if each['id'] in id]
        return {'subnets': found}

    def list_ports(self, **wanted: str) -> dict[str, Any]:
        """The network's DHCP ports, if Neutron has told any."""
        return {
            'ports': [
                port
                for port in self._told['ports']
                if all(port[key] == value for key, value in wanted.items())
            ]
        }

    def list_floatingips(self, **_wanted: str) -> dict[str, Any]:
        return {'floatingips': []}

    def show_network(self, id: str, fields: Any = None) -> dict[str, Any]:
        found = (each for each in self._told['networks'] if each['id'] == id)
        return {'network': next(found)}


def describe_instance(told: dict[str, Any]) -> Any:
    """The metadata of an instance that has all ``compute:`` ports."""
    client = Answers(told)
    neutron.get_client = lambda *_args, **_named: client
    api = neutron.API()
    api.has_multi_provider_extension = lambda *_args, **_named: False
    vifs = [
        api._build_vif_model(
            context.get_admin_context(), client, port, told['networks'], []
        )
        for port in told['ports']
        if port['device_owner'].startswith('compute:')
    ]
    return netutils.get_network_metadata(model.NetworkInfo(vifs))


if __name__ == '__main__':
    json.dump(describe_instance(json.load(sys.stdin)), sys.stdout, indent=1)
