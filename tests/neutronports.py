# SPDX-License-Identifier: Apache-2.0
"""Ports as Neutron describes them, and a client with answers to give."""

from __future__ import annotations

import collections
import types
from datetime import UTC, datetime
from typing import Any

from kuryr_sriov import model
from kuryr_sriov.drivers.neutron import port_body

DEFAULTS = port_body.Defaults(cluster='blue', tags=('ours',))
POD = model.Pod('default', 'web', 'uid-web', 'node-1')
SUBNET = model.Subnet('sub-1', 'red', 'physnet22', '10.0.0.0/16')
REQUEST = model.NetworkRequest(
    'default', 'nad', 'net1', subnets=(SUBNET,), resource='intel.com/a'
)


def port_of(
    id: str, slot: str = '', tags: list[str] | None = None, **more: Any
) -> dict[str, Any]:
    """A bound port of the pod's, as Neutron's API has it."""
    return {
        'id': id,
        'name': 'default/web/net1',
        'device_id': POD.uid,
        'device_owner': port_body.DEVICE_OWNER,
        'description': DEFAULTS.description,
        'network_id': 'red',
        'mac_address': 'fa:16:3e:00:00:01',
        'fixed_ips': [{'subnet_id': 'sub-1', 'ip_address': '10.0.0.7'}],
        'binding:host_id': 'node-1',
        'binding:vif_type': 'hw_veb',
        'binding:vif_details': {'vlan': '7'},
        'binding:profile': {'pci_slot': slot} if slot else {},
        'status': 'DOWN',
        'created_at': '2026-01-01T00:00:00Z',
        'revision_number': 1,
        'tags': tags,
        **more,
    }


class Client:
    """Gives the answers that a test has put in ``answers``, by method.

    :ivar calls: each call so far, with its arguments.
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[Any]] = collections.defaultdict(list)
        self.calls: list[tuple[Any, ...]] = []

    def parsed(self, id: str, **more: Any) -> port_body.Port:
        return port_body.parse_port(port_of(id, **more))

    def __getattr__(self, method: str) -> Any:
        def answer(*arguments: Any) -> Any:
            self.calls.append((method, *arguments))
            answers = self.answers[method]
            found = answers.pop(0) if answers else None
            if isinstance(found, Exception):
                raise found
            if method == 'get' and found is None:
                return port_of(arguments[-1])
            if method == 'list_ports':
                return found, datetime(2026, 1, 2, tzinfo=UTC)
            return found

        return answer


def make_conf(**changes: Any) -> Any:
    """What the driver reads of ``[neutron]``, as it is by default."""
    options: dict[str, Any] = {
        'cluster': 'blue',
        'resource_tags': (),
        'port_project': '',
        'security_groups': (),
        'namespace_projects': {},
        'host_template': '{node}',
        'node_hosts': {},
        'namespace_security_groups': {},
        'port_security_enabled': None,
        'qos_policy': '',
        'propagate_uplink_status': None,
        'trusted_physnets': (),
        'active_timeouts': {},
        'cache_ttl': 300,
    }
    return types.SimpleNamespace(**options | changes)
