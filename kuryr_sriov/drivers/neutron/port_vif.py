# SPDX-License-Identifier: Apache-2.0
"""From a port of Neutron to what the node is to do with the VF. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from kuryr_sriov import exceptions, model
from kuryr_sriov.drivers.neutron import lookups
from kuryr_sriov.drivers.neutron.port_body import Port
from kuryr_sriov.npwg.nad_policy import check_filled

_T = TypeVar('_T')


def to_vif(
    port: Port,
    request: model.NetworkRequest,
    subnets: Sequence[model.Subnet],
    rates: lookups.Rates,
    trusted_physnets: Collection[str] = (),
) -> model.Vif:
    """What the node is to do with the VF.

    :param subnets: of all the port's addresses.
    :raises ProviderRefused: Neutron does not tell the VLAN.
    """
    first = request.subnets[0]
    # The binding knows better than the network, which may have segments.
    vlan = first.vlan if port.vlan is None else port.vlan
    if vlan is None:
        raise exceptions.ProviderRefused(
            f'port {port.id}: Neutron does not show binding:vif_details, so '
            'its VLAN is unknown; give the user of [neutron] role "service"'
        )
    vif = model.Vif(
        id=port.id,
        ifname=request.ifname,
        network=str(request),
        resource=request.resource,
        physnet=first.physnet,
        mac=port.mac,
        addresses=with_prefixes(port, subnets),
        gateways=request.gateways or (),
        routes=_drop_repeats(route for net in subnets for route in net.routes),
        dns=_drop_repeats(server for net in subnets for server in net.dns),
        mtu=first.mtu,
        vlan=vlan,
        policy=request.policy,
    )
    vif = with_settings(vif, port, rates, trusted_physnets)
    check_filled(vif)
    return vif


def with_settings(
    vif: model.Vif,
    port: Port,
    rates: lookups.Rates,
    trusted_physnets: Collection[str] = (),
) -> model.Vif:
    """The VIF with all that Neutron may change while the port lives."""
    link_state: model.LinkState | None = None
    if not port.admin_up:
        link_state = 'disable'
    elif port.propagate_uplink_status is not None:
        # as Neutron's own SR-IOV agent does
        link_state = 'auto' if port.propagate_uplink_status else 'enable'
    vif = replace(
        vif,
        vlan=vif.vlan if port.vlan is None else port.vlan,
        min_tx_rate=rates.min_tx_rate,
        max_tx_rate=rates.max_tx_rate,
        spoofchk=port.port_security,
        trust=True if port.trusted else None,
        link_state=link_state,
        active=port.active,
    )
    # where Neutron says nothing any more, the NAD's word counts again
    if vif.policy:
        vif = vif.policy.fill(vif)
    if vif.trust is None and vif.physnet in trusted_physnets:
        vif = replace(vif, trust=True)
    return vif


def with_prefixes(
    port: Port, subnets: Iterable[model.Subnet]
) -> tuple[str, ...]:
    """The port's addresses as ``192.168.2.7/24``."""
    lengths = {net.id: net.cidr.rpartition('/')[2] for net in subnets}
    return tuple(f'{ip}/{lengths[net]}' for net, ip in port.fixed_ips)


def _drop_repeats(items: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(items))
