# SPDX-License-Identifier: Apache-2.0
"""What is wrong at Neutron, before any pod finds out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from kuryr_sriov import exceptions
from kuryr_sriov.clients import neutron
from kuryr_sriov.drivers import base
from kuryr_sriov.drivers.neutron import neutron_options


def find_faults(conf: Any) -> Iterator[str]:
    """Whether the credentials have the roles, and host names their agents."""
    names = neutron_options.read_host_names(conf)
    with contextlib.closing(neutron.NeutronClient(conf)) as client:
        yield from names.find_strangers(client.list_agents())
        if 'service' not in client.list_roles():
            yield (
                'the user of [neutron] lacks the role "service", which '
                'writing binding:profile needs since Neutron 2024.1; '
                '"admin" does not stand in for it'
            )


def find_hostless_nodes(
    conf: Any, list_nodes: base.ListNodes
) -> Iterator[str]:
    """Whether the host of each node has an agent that is alive.

    :raises ProviderRefused: the user may not see the agents.
    """
    names = neutron_options.read_host_names(conf)
    with contextlib.closing(neutron.NeutronClient(conf)) as client:
        agents = client.list_agents()
    if not agents:
        raise exceptions.ProviderRefused(
            'Neutron shows no SR-IOV agent to the user of [neutron]; let '
            'somebody look who may: "openstack network agent list"'
        )
    yield from names.find_hostless(list_nodes(), agents)
