# SPDX-License-Identifier: Apache-2.0
"""What Neutron is asked to make of a request. Pure: no request is made."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kuryr_sriov import exceptions, model
from kuryr_sriov.drivers.neutron.port_body import (
    DEVICE_OWNER,
    NAME_LENGTH,
    Defaults,
)


def with_active_timeout(
    request: model.NetworkRequest, timeouts: Mapping[str, float]
) -> model.NetworkRequest:
    """The request, with kuryr.conf's time where its NAD says none.

    :param timeouts: seconds, by resource.
    """
    policy = request.policy or model.Policy()
    timeout = timeouts.get(request.resource)
    # A port that is down never becomes ACTIVE.
    if not timeout or policy.link_state == 'disable':
        return request
    if policy.active_timeout is not None:
        return request
    return replace(request, policy=replace(policy, active_timeout=timeout))


def to_create(
    pod: model.Pod, request: model.NetworkRequest, defaults: Defaults
) -> dict[str, Any]:
    """The body that asks for the port of one interface.

    :raises ProviderRefused: an address is on none of the subnets.
    """
    body: dict[str, Any] = {
        'name': port_name(pod, request.ifname),
        'description': defaults.description,
        'network_id': request.subnets[0].network,
        'fixed_ips': _fixed_ips(request),
        'device_id': pod.uid,
        'device_owner': DEVICE_OWNER,
        # With the host, Neutron binds the port while it creates it.
        'binding:host_id': pod.node,
        'binding:vnic_type': 'direct',
        'admin_state_up': True,
    }
    policy = request.policy or model.Policy()
    optional = {
        'mac_address': request.mac.lower(),
        'tags': list(defaults.all_tags),
        'project_id': defaults.project_of(pod.namespace),
        'qos_policy_id': policy.qos_policy or defaults.qos_policy,
    }
    body |= {key: value for key, value in optional.items() if value}
    groups = policy.security_groups
    if groups is None:
        groups = defaults.groups_of(pod.namespace) or None
    security = _security(policy, groups, defaults.port_security)
    return body | security | _link_state(policy, defaults)


def _security(
    policy: model.Policy, groups: tuple[str, ...] | None, enabled: bool | None
) -> dict[str, Any]:
    """Port security, and with it the groups: without it a port has none.

    :param groups: None for the default one of the project.
    :param enabled: as it is configured for all ports.
    """
    if policy.security_groups and enabled is False:
        enabled = True  # groups that a NAD names need it
    # The SR-IOV agent sets a VF's spoof check by its port's security, so
    # that Neutron has to hear of it.
    for said in policy.spoofchk, policy.port_security:
        enabled = enabled if said is None else said
    if enabled is False:
        return {'port_security_enabled': False, 'security_groups': []}
    found: dict[str, Any] = {}
    if enabled is not None:
        found['port_security_enabled'] = enabled
    if groups is not None:
        found['security_groups'] = list(groups)
    return found


def _link_state(policy: model.Policy, defaults: Defaults) -> dict[str, Any]:
    """What makes Neutron say that link state: see ``port_vif``."""
    propagate = defaults.propagate_uplink_status
    if policy.link_state == 'disable':
        return {'admin_state_up': False}
    if policy.link_state is not None:
        propagate = policy.link_state == 'auto'
    return {} if propagate is None else {'propagate_uplink_status': propagate}


def port_name(pod: model.Pod, ifname: str) -> str:
    """``namespace/pod/ifname``, the pod's name cut to what Neutron holds."""
    room = NAME_LENGTH - len(pod.namespace) - len(ifname) - 2
    return f'{pod.namespace}/{pod.name[:room]}/{ifname}'


def binding_profile(location: model.Location, trusted: bool) -> dict[str, str]:
    """``binding:profile``, as Nova writes it for a VF."""
    found = {
        'pci_slot': location.pci_slot,
        'pci_vendor_info': location.pci_vendor_info,
        'physical_network': location.physical_network,
    }
    return found | {'trusted': 'true'} if trusted else found


def _fixed_ips(request: model.NetworkRequest) -> list[dict[str, str]]:
    """One entry per address asked for, or else per subnet."""
    nets = {
        subnet.id: ipaddress.ip_network(subnet.cidr)
        for subnet in request.subnets
    }
    found = []
    left = dict(nets)
    for text in request.ips:
        ip = ipaddress.ip_interface(text)
        homes = [id for id, net in nets.items() if ip.ip in net]
        if not homes or ('/' in text and ip.network != nets[homes[0]]):
            raise exceptions.ProviderRefused(
                f'network {request}: {text} is not an address of '
                + ', '.join(map(str, nets.values()))
                + '; ask for one that is, or for none'
            )
        found.append({'subnet_id': homes[0], 'ip_address': str(ip.ip)})
        left.pop(homes[0], None)
    return found + [{'subnet_id': id} for id in left]
