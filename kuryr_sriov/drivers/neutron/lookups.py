# SPDX-License-Identifier: Apache-2.0
"""What Neutron says of subnets and QoS policies, remembered for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from kuryr_sriov import exceptions, model
from kuryr_sriov.clients import neutron
from kuryr_sriov.clients.turns import SharedCalls

COMPUTE = 'compute:'
"""What the ``device_owner`` of Nova's ports begins with."""

_T = TypeVar('_T')


@dataclass(frozen=True, slots=True)
class Rates:
    """A QoS policy's egress limits, in Mbit/s; None where it sets none."""

    min_tx_rate: int | None = None
    max_tx_rate: int | None = None


class Lookups:
    """Subnets and QoS policies by id, read at most once per ``ttl``.

    Thread-safe; those who wait for one id hold up nobody who wants another.
    What Neutron refuses is not remembered.

    :param ttl: seconds until it is read again; 0 to remember nothing.
    """

    def __init__(
        self,
        client: neutron.NeutronClient,
        ttl: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._subnets = _Cache(self._read_subnet, ttl, clock)
        self._rates = _Cache(self._read_rates, ttl, clock)

    def subnet(self, id: str) -> model.Subnet:
        """The subnet, with what it has from its network.

        :raises ProviderRefused: Neutron does not know it, or its network
            is on no physical network.
        """
        return self._subnets.get(id)

    def rates(self, policy: str) -> Rates:
        """Rates of the QoS policy; none for the empty id.

        :raises ProviderRefused: the policy is not shown to us.
        """
        return self._rates.get(policy) if policy else Rates()

    def guest_port(self, id: str) -> model.GuestPort:
        """A port of a virtual machine; read each time.

        :raises ProviderRefused: there is none, or it is no machine's.
        """
        port = self._client.get('ports', 'port', id)
        owner = port.get('device_owner') or ''
        if not owner.startswith(COMPUTE):
            raise exceptions.ProviderRefused(
                f'port {id} is no port of a virtual machine: its device_owner '
                f'is {owner!r}; see which port the VF of the node is'
            )
        fixed = port['fixed_ips']
        return to_guest_port(
            port, [self.subnet(each['subnet_id']) for each in fixed]
        )

    def forget(self, subnets: Iterable[str]) -> None:
        """Read these subnets again when they are asked for next."""
        for id in subnets:
            self._subnets.forget(id)

    def _read_subnet(self, id: str) -> model.Subnet:
        subnet = self._client.get('subnets', 'subnet', id)
        network = self._client.get('networks', 'network', subnet['network_id'])
        return to_subnet(subnet, network)

    def _read_rates(self, id: str) -> Rates:
        try:
            policy = self._client.get('qos/policies', 'policy', id)
        except neutron.NeutronRefused as error:
            raise exceptions.ProviderRefused(
                f'QoS policy {id} cannot be read, so its rates are unknown; '
                'share it with the project of the user of [neutron] '
                f'({error})'
            ) from error
        return to_rates(policy)


class _Cache(Generic[_T]):
    """Values by id; one reader at a time, so that none is read twice."""

    def __init__(
        self,
        read: Callable[[str], _T],
        ttl: float,
        clock: Callable[[], float],
    ) -> None:
        self._read = read
        self._ttl = ttl
        self._clock = clock
        self._calls: SharedCalls[_T] = SharedCalls()
        self._found: dict[str, tuple[float, _T]] = {}

    def get(self, id: str) -> _T:
        found = self._found.get(id)
        if found and self._clock() < found[0]:
            return found[1]
        return self._calls.share(id, lambda: self._look_up(id))

    def _look_up(self, id: str) -> _T:
        self._found.pop(id, None)
        value = self._read(id)
        self._found[id] = self._clock() + self._ttl, value
        return value

    def forget(self, id: str) -> None:
        self._found.pop(id, None)


def to_subnet(
    subnet: Mapping[str, Any], network: Mapping[str, Any]
) -> model.Subnet:
    """The subnet that Neutron's two JSON objects describe.

    Its physnet is empty and its VLAN None where the caller may not read
    provider attributes.

    :raises ProviderRefused: the network is on no physical network.
    """
    physnet, vlan = _provider_attributes(subnet, network)
    return model.Subnet(
        id=subnet['id'],
        network=network['id'],
        physnet=physnet,
        cidr=subnet['cidr'],
        gateway=subnet.get('gateway_ip') or '',
        vlan=vlan,
        mtu=network.get('mtu') or 0,
        routes=tuple(
            model.Route(route['destination'], route['nexthop'])
            for route in subnet.get('host_routes') or ()
        ),
        dns=tuple(subnet.get('dns_nameservers') or ()),
    )


def to_guest_port(
    port: Mapping[str, Any], subnets: Sequence[model.Subnet]
) -> model.GuestPort:
    """The port that Neutron's JSON object describes.

    :param subnets: of its addresses, in order.
    """
    addresses = zip(port['fixed_ips'], subnets, strict=True)
    return model.GuestPort(
        id=port['id'],
        mac=port['mac_address'],
        network=port['network_id'],
        addresses=tuple(
            f'{fixed["ip_address"]}/{subnet.cidr.rpartition("/")[2]}'
            for fixed, subnet in addresses
        ),
        routes=tuple(
            dict.fromkeys(each for net in subnets for each in net.routes)
        ),
        dns=tuple(dict.fromkeys(each for net in subnets for each in net.dns)),
        mtu=subnets[0].mtu if subnets else 0,
    )


def to_rates(policy: Mapping[str, Any]) -> Rates:
    """Egress rates of a QoS policy, rounded as Neutron's agent does.

    A VF's transmit side is the port's egress; the kernel counts in Mbit/s.
    """
    found: dict[str, int] = {}
    for rule in policy.get('rules', ()):
        # Rules had no direction before Neutron's qos-bw-limit-direction.
        if rule.get('direction', 'egress') != 'egress':
            continue
        if rule['type'] == 'bandwidth_limit':
            found['max_tx_rate'] = _to_mbit(rule['max_kbps'])
        elif rule['type'] == 'minimum_bandwidth':
            found['min_tx_rate'] = _to_mbit(rule['min_kbps'])
    return Rates(**found)


def _to_mbit(kbps: int) -> int:
    # To the kernel a rate of 0 is no limit at all.
    return max(1, round(kbps / 1000)) if kbps else 0


def _provider_attributes(
    subnet: Mapping[str, Any], network: Mapping[str, Any]
) -> tuple[str, int | None]:
    # A network of several segments has them in place of its own attributes.
    segments = network.get('segments') or [network]
    # Neutron leaves out what the policy hides from our role.
    if 'provider:network_type' not in segments[0]:
        return '', None
    physnets = {
        segment['provider:physical_network'] or '' for segment in segments
    } - {''}
    if not physnets:
        kind = segments[0]['provider:network_type']
        raise exceptions.ProviderRefused(
            f'subnet {subnet["id"]}: its network {network["id"]} is of type '
            f'{kind} and on no physical network; SR-IOV needs a flat or VLAN '
            'provider network'
        )
    if len(segments) > 1:
        # which segment it is, is decided when the port is bound
        return physnets.pop() if len(physnets) == 1 else '', None
    return physnets.pop(), segments[0]['provider:segmentation_id'] or 0
