# SPDX-License-Identifier: Apache-2.0
"""A NAD's policy: the keys of ``kuryr-config`` for ports and VFs."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kuryr_sriov import model
from kuryr_sriov.exceptions import InvalidAnnotation, ProviderRefused
from kuryr_sriov.npwg.annotation import Invalid, shorten_repr

# The kernel's ETH_MIN_MTU and ETH_MAX_MTU, and what IPv6 asks of every link
# (RFC 8200, section 5).
MTUS = range(68, 65536)
IPV6_MTU = 1280
RATES = range(2**32)
"""Mbit/s that ``struct ifla_vf_rate`` has room for."""
LONGEST = 600.0
"""Seconds for a port to become ACTIVE: somebody waits for it meanwhile."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key of ``kuryr-config``.

    :param field: of ``model.Policy``.
    :param read: its value from what JSON has; ValueError for a wrong one.
    :param words: what a value is, for messages; then an example.
    """

    field: str
    read: Callable[[Any], Any]
    words: str
    example: str


def _read_flag(given: Any) -> bool:
    if not isinstance(given, bool):
        raise ValueError
    return given


def _read_id(given: Any) -> str:
    if not isinstance(given, str) or not given or given.split() != [given]:
        raise ValueError
    return given


def _read_ids(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list):
        raise ValueError
    ids = tuple(map(_read_id, given))
    if len(set(ids)) < len(ids):
        raise ValueError
    return ids


def _read_link_state(given: Any) -> str:
    if given not in ('auto', 'enable', 'disable'):
        raise ValueError
    return str(given)


def _read_seconds(given: Any) -> float:
    # JSON's true is Python's 1
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise ValueError
    if not 0 < given <= LONGEST:
        raise ValueError
    return float(given)


def _read_number_in(allowed: range) -> Callable[[Any], int]:
    def read(given: Any) -> int:
        if type(given) is not int or given not in allowed:
            raise ValueError
        return given

    return read


_FLAG = _read_flag, 'neither true nor false', 'true'
_RATE = _read_number_in(RATES), 'no rate in Mbit/s', '1000, or 0 for none'

KEYS: Mapping[str, Key] = {
    'securityGroupIds': Key(
        'security_groups',
        _read_ids,
        'no list of different ids',
        '["ID of a group"], or [] for none',
    ),
    'portSecurity': Key('port_security', *_FLAG),
    'qosPolicyId': Key('qos_policy', _read_id, 'no id', '"ID of a policy"'),
    'activeTimeout': Key(
        'active_timeout',
        _read_seconds,
        f'no number of seconds up to {LONGEST:g}',
        '30',
    ),
    'trusted': Key('trust', *_FLAG),
    'spoofchk': Key('spoofchk', *_FLAG),
    'linkState': Key(
        'link_state',
        _read_link_state,
        'none of auto, enable and disable',
        '"auto"',
    ),
    'minTxRate': Key('min_tx_rate', *_RATE),
    'maxTxRate': Key('max_tx_rate', *_RATE),
    'mtu': Key(
        'mtu',
        _read_number_in(MTUS),
        f'no MTU from {MTUS[0]} to {MTUS[-1]}',
        '1500',
    ),
    'vlanQos': Key(
        'vlan_qos', _read_number_in(range(8)), 'no number from 0 to 7', '3'
    ),
}
"""By the key's name."""

_NAMES = {key.field: name for name, key in KEYS.items()}


def read_policy(
    config: Mapping[str, Any], wrong: Invalid
) -> model.Policy | None:
    """What the keys of a ``kuryr-config`` say; None where none is there.

    :param wrong: makes the error from what is wrong and the remedy.
    :raises InvalidAnnotation: as ``wrong`` makes it.
    """
    said = {}
    for name, key in KEYS.items():
        if name not in config:
            continue
        try:
            said[key.field] = key.read(config[name])
        except ValueError as error:
            raise wrong(
                f'{name} {shorten_repr(config[name])} is {key.words}',
                f'write {key.example}, or leave it out',
            ) from error
    if not said:
        return None
    policy = model.Policy(**said)
    for what, remedy in _find_contradictions(policy):
        raise wrong(what, remedy)
    return policy


def _find_contradictions(
    policy: model.Policy,
) -> Iterator[tuple[str, str]]:
    for field in 'port_security', 'spoofchk':
        if policy.security_groups and getattr(policy, field) is False:
            yield (
                f'securityGroupIds is there, and {_NAMES[field]} is false: a '
                'port without port security has no security groups',
                'remove one of the two',
            )
    if (
        None not in (policy.port_security, policy.spoofchk)
        and policy.port_security != policy.spoofchk
    ):
        yield (
            'portSecurity and spoofchk differ: a VF is checked for spoofing '
            'if its port has port security',
            'remove spoofchk',
        )
    if policy.link_state == 'disable' and policy.active_timeout:
        yield (
            'linkState is disable, and activeTimeout is there: a port that is '
            'down does not become ACTIVE',
            'remove one of the two',
        )
    if exceeds(policy.min_tx_rate, policy.max_tx_rate):
        yield (
            f'minTxRate {policy.min_tx_rate} is above maxTxRate '
            f'{policy.max_tx_rate}',
            'correct one of the two',
        )


def exceeds(min_tx_rate: int | None, max_tx_rate: int | None) -> bool:
    """Whether the minimum is above the maximum, where 0 is no limit."""
    return bool(max_tx_rate) and (min_tx_rate or 0) > (max_tx_rate or 0)


def check_against_subnets(request: model.NetworkRequest) -> None:
    """Refuse a policy that the request's subnets rule out.

    :raises InvalidAnnotation: naming the key and the remedy.
    """
    for what, remedy in _find_misfits(request):
        raise InvalidAnnotation(
            f'NetworkAttachmentDefinition {request}: {what}; {remedy}.'
        )


def _find_misfits(
    request: model.NetworkRequest,
) -> Iterator[tuple[str, str]]:
    policy = request.policy or model.Policy()
    for net in request.subnets:
        six = ipaddress.ip_network(net.cidr).version == 6
        if policy.mtu and net.mtu and policy.mtu > net.mtu:
            yield (
                f'mtu {policy.mtu} is above that of network {net.network}, '
                f'which is {net.mtu}',
                'lower it, or leave it out',
            )
        if policy.mtu and six and policy.mtu < IPV6_MTU:
            yield (
                f'mtu {policy.mtu} is too small for IPv6 (subnet {net.id})',
                f'use {IPV6_MTU} or more',
            )
        if policy.vlan_qos and net.vlan == 0:
            yield (
                f'vlanQos {policy.vlan_qos} needs a VLAN, and network '
                f'{net.network} is untagged',
                'remove it',
            )


def refuse_unsupported(
    requests: Sequence[model.NetworkRequest],
    supported: Collection[str],
    driver: str,
) -> None:
    """Refuse what a VIF driver cannot do, rather than leave it out.

    :param supported: the driver's ``policy_fields``.
    :param driver: how messages call it.
    :raises InvalidAnnotation: naming network, keys and driver.
    """
    for request in requests:
        said = request.policy.said() if request.policy else {}
        keys = [_NAMES[field] for field in said if field not in supported]
        if keys:
            raise InvalidAnnotation(
                f'NetworkAttachmentDefinition {request}: the VIF driver '
                f'{driver} cannot do {", ".join(keys)}; remove that from its '
                'openstack.org/kuryr-config.'
            )


def check_filled(vif: model.Vif) -> None:
    """Refuse settings that do not fit what the provider has said.

    :raises ProviderRefused: naming the network, both values, the remedy.
    """
    if vif.vlan_qos and not vif.vlan:
        raise ProviderRefused(
            f'network {vif.network}: vlanQos {vif.vlan_qos} needs a VLAN, and '
            f'{vif.id} has none; remove it from the '
            'NetworkAttachmentDefinition'
        )
    if exceeds(vif.min_tx_rate, vif.max_tx_rate):
        raise ProviderRefused(
            f'network {vif.network}: the minimum rate of {vif.id} is '
            f'{vif.min_tx_rate} Mbit/s and its maximum {vif.max_tx_rate}; '
            'correct its QoS policy, or minTxRate and maxTxRate of the '
            'NetworkAttachmentDefinition'
        )
