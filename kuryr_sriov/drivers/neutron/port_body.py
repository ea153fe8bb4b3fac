# SPDX-License-Identifier: Apache-2.0
"""Ports as Neutron's JSON describes them. Pure: no request is made."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from kuryr_sriov import exceptions, model

_T = TypeVar('_T')

DEVICE_OWNER = 'compute:kuryr:sriov'
"""``device_owner`` of every port the driver makes."""

NAME_LENGTH = 255
"""Of a port, at most."""

# "unbound" before Neutron knows the host, "binding_failed" after no agent of
# that host took the port.
_UNBOUND = frozenset({'', 'unbound', 'binding_failed'})


@dataclass(frozen=True, slots=True)
class Defaults:
    """What every port gets, from ``[neutron]``.

    :param cluster: what tells the Kubernetes cluster from others: its own
        uid, or else the operator's name for it; empty for neither.
    :param cluster_name: the operator's name for it, for people.
    :param tags: beside the cluster's.
    :param trusted_physnets: whose VFs are trusted.
    """

    cluster: str = ''
    cluster_name: str = ''
    tags: tuple[str, ...] = ()
    project: str = ''
    security_groups: tuple[str, ...] = ()
    namespace_projects: Mapping[str, str] = field(default_factory=dict)
    namespace_security_groups: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )
    port_security: bool | None = None
    qos_policy: str = ''
    propagate_uplink_status: bool | None = None
    trusted_physnets: frozenset[str] = frozenset()

    def project_of(self, namespace: str) -> str:
        """Project of the ports of its pods; empty for that of our user."""
        return self.namespace_projects.get(namespace, self.project)

    def groups_of(self, namespace: str) -> tuple[str, ...]:
        """Security groups of its pods; none for the project's default."""
        if namespace in self.namespace_security_groups:
            return self.namespace_security_groups[namespace]
        # those of our own project are no groups of another one
        other = namespace in self.namespace_projects
        return () if other else self.security_groups

    @property
    def description(self) -> str:
        """What tells the cluster's ports from others.

        Not a tag: an older Neutron drops tags on create, and anybody in the
        project may set them.
        """
        return f'kuryr-sriov port of cluster {self.cluster!r}'

    @property
    def all_tags(self) -> tuple[str, ...]:
        """Tags of every port, the cluster's last."""
        name = self.cluster_name or self.cluster
        return (
            (*self.tags, f'kuryr-sriov-cluster={name}')
            if name
            else (self.tags)
        )


@dataclass(frozen=True, slots=True)
class Port:
    """What the driver needs to know of a port.

    :param pod: namespace and name from the port's name; both are empty if
        somebody has renamed it, or the name was too long for Neutron.
    :param ifname: from the name; empty if somebody has renamed it.
    :param owner: ``device_owner``; with the description it tells whether the
        port is one that this driver made for this cluster.
    :param fixed_ips: pairs of subnet id and address.
    :param pci_slot: from ``binding:profile``; empty before activation.
    :param vlan: from ``binding:vif_details``; None where it does not say.
    :param qos_policy: of the port, else of its network; empty for none.
    :param tags: None where Neutron does not show them.
    """

    id: str
    pod: model.Pod
    ifname: str
    network: str
    mac: str
    fixed_ips: tuple[tuple[str, str], ...]
    host: str = ''
    vif_type: str = ''
    pci_slot: str = ''
    vlan: int | None = None
    trusted: bool = False
    port_security: bool | None = None
    propagate_uplink_status: bool | None = None
    admin_up: bool = True
    qos_policy: str = ''
    tags: frozenset[str] | None = None
    active: bool = False
    created: datetime | None = None
    owner: str = ''
    description: str = ''
    revision: int | None = None

    @property
    def pod_uid(self) -> str:
        """``device_id``: the pod it was made for."""
        return self.pod.uid

    def is_of(self, defaults: Defaults) -> bool:
        """Whether this driver made the port for this cluster."""
        return (
            self.owner == DEVICE_OWNER
            and self.description == defaults.description
        )

    @property
    def bound(self) -> bool:
        """Whether a mechanism driver has taken the port."""
        return self.vif_type not in _UNBOUND

    def fits(self, pod: model.Pod, request: model.NetworkRequest) -> bool:
        """Whether this is a port as the request would make it.

        Bound or not: a port that lost its binding is still the same one.
        """
        addresses = {address for _subnet, address in self.fixed_ips}
        asked = {str(ipaddress.ip_interface(ip).ip) for ip in request.ips}
        subnets = {subnet for subnet, _address in self.fixed_ips}
        return (
            self.host == pod.node
            and self.network == request.subnets[0].network
            and asked <= addresses
            and {subnet.id for subnet in request.subnets} <= subnets
            and request.mac.lower() in ('', self.mac)
        )


def parse_port(port: Mapping[str, Any]) -> Port:
    """The port that Neutron's JSON object describes.

    :raises ProviderUnavailable: it describes none, as after a proxy's work.
    """
    try:
        return _read_port(port)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise exceptions.ProviderUnavailable(
            f'Neutron describes port {port.get("id", "without id")} in a way '
            f'that cannot be read: {type(error).__name__}: {error}'
        ) from error


def _read_port(port: Mapping[str, Any]) -> Port:
    profile = port.get('binding:profile') or {}
    vlan = (port.get('binding:vif_details') or {}).get('vlan')
    tags = port.get('tags')
    created = port.get('created_at')
    # Absent where the policy hides it from our role.
    host = sys.intern(port.get('binding:host_id') or '')
    pod, ifname = _owner_of(port['name'], port['device_id'], host)
    return Port(
        id=port['id'],
        pod=pod,
        ifname=ifname,
        network=sys.intern(port['network_id']),
        mac=port['mac_address'].lower(),
        fixed_ips=tuple(
            (sys.intern(fixed['subnet_id']), fixed['ip_address'])
            for fixed in port['fixed_ips']
        ),
        host=host,
        vif_type=sys.intern(port.get('binding:vif_type') or ''),
        pci_slot=profile.get('pci_slot') or '',
        vlan=None if vlan is None else int(vlan),
        # Nova writes a string there; the port_trusted extension a boolean
        trusted=str(port.get('trusted') or profile.get('trusted')).lower()
        == 'true',
        port_security=port.get('port_security_enabled'),
        propagate_uplink_status=port.get('propagate_uplink_status'),
        admin_up=port.get('admin_state_up', True),
        qos_policy=port.get('qos_policy_id')
        or port.get('qos_network_policy_id')
        or '',
        tags=None if tags is None else frozenset(tags),
        active=port.get('status') == 'ACTIVE',
        created=datetime.fromisoformat(created) if created else None,
        # The same few texts stand in thousands of ports.
        owner=sys.intern(port.get('device_owner') or ''),
        description=sys.intern(port.get('description') or ''),
        revision=port.get('revision_number'),
    )


def _owner_of(name: str, uid: str, node: str) -> tuple[model.Pod, str]:
    """Pod and interface of a port of that name; see ``port_name``."""
    namespace, _, rest = name.partition('/')
    pod_name, slash, ifname = rest.rpartition('/')
    if not slash or len(name) >= NAME_LENGTH:
        # renamed, or cut: to ask for a pod of that name would prove nothing
        namespace = pod_name = ''
        ifname = name.rpartition('/')[2]
    pod = model.Pod(sys.intern(namespace), pod_name, sys.intern(uid), node)
    return pod, sys.intern(ifname)
