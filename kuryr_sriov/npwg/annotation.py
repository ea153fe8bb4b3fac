# SPDX-License-Identifier: Apache-2.0
"""The pod's networks annotation: NPWG multi-network v1.3, section 4.

A bad annotation is refused as a whole: it is never half-honoured.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from kuryr_sriov import model
from kuryr_sriov.exceptions import InvalidAnnotation

NETWORKS = 'k8s.v1.cni.cncf.io/networks'
"""Annotation of the pod."""

Invalid = Callable[[str, str], InvalidAnnotation]
"""Makes the error from what is wrong and the remedy; knows where it is."""

_TYPES: dict[str, tuple[type, str]] = {
    'name': (str, 'a string'),
    'namespace': (str, 'a string'),
    'ips': (list, 'a list'),
    'mac': (str, 'a string'),
    'interface': (str, 'a string'),
    'default-route': (list, 'a list'),
    'infiniband-guid': (str, 'a string'),
    'portMappings': (list, 'a list'),
    'bandwidth': (dict, 'an object'),
    'cni-args': (dict, 'an object'),
    'ipam-claim-reference': (str, 'a string'),
}
_EXTRAS = tuple(_TYPES)[7:]
_CUSTOM_KEY = re.compile('[a-z0-9-]+([.][A-Za-z0-9_-]+)+(/[A-Za-z0-9_.-]+)?')

_LABEL = (
    re.compile('[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?'),
    'a DNS label',
    'use a-z, 0-9 and - only, at most 63 of them',
)
_FORMS = {
    'name': _LABEL,
    'namespace': _LABEL,
    # neither zero nor a group address: the kernel takes no such MAC
    'mac': (
        re.compile(
            '(?!00([:-]00){5})[0-9a-f][02468ace]([:-])'
            '([0-9a-f]{2}\\2){4}[0-9a-f]{2}',
            re.IGNORECASE,
        ),
        'a MAC address of an interface',
        'write 6 bytes, such as 02:00:00:00:00:07',
    ),
    # the kernel's dev_valid_name(); a % would make the name a template
    'interface': (
        re.compile('(?![.]{1,2}$)[!-$&-.0-9;-~]{1,15}'),
        'an interface name',
        'use 1 to 15 of ASCII without space, slash, colon and %',
    ),
    'infiniband-guid': (
        # of zeros it stands for none
        re.compile(
            '(?!00(:00){7})([0-9a-f]{2}:){7}[0-9a-f]{2}', re.IGNORECASE
        ),
        'a GUID',
        'write 8 bytes, such as 00:11:22:33:44:55:66:77',
    ),
}
_ADDRESSES = {
    'ips': (
        re.compile('[0-9a-fA-F.:]+(/[0-9]+)?'),
        'write 192.168.2.7, 192.168.2.7/24, or the like in IPv6',
    ),
    'default-route': (
        re.compile('[0-9a-fA-F.:]+'),
        'write the address of the gateway, such as 192.168.2.1',
    ),
}


@dataclass(frozen=True, slots=True)
class Selection:
    """One entry of the annotation: a network selection element.

    Addresses are in canonical form, MAC and GUID in lower case with colons.

    :param namespace: of the NAD; the pod's where the entry has none.
    :param ifname: the one asked for, or ``net<N>`` for the N-th entry.
    :param guid: ``infiniband-guid``.
    :param gateways: ``default-route``; None where the entry has none.
    :param extras: keys that ask for what only some networks can do.
    :param unknown: keys of no specification: an error for our networks, and
        none of our business for those of others.
    """

    namespace: str
    name: str
    ifname: str
    ips: tuple[str, ...] = ()
    mac: str = ''
    guid: str = ''
    gateways: tuple[str, ...] | None = None
    extras: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def parse_networks(value: str, namespace: str) -> tuple[Selection, ...]:
    """The entries of the annotation, short or JSON form, in order.

    :param namespace: the pod's.
    :raises InvalidAnnotation: naming entry, offending part and remedy.
    """
    if not value.strip():
        return ()
    items = (
        _parse_json_form(value)
        if set('[{"') & set(value)
        else _parse_short_form(value)
    )
    selections = tuple(
        _read_element(
            partial(_invalid_entry, position), position, keys, namespace
        )
        for position, keys in items
    )
    _check_ifnames(selections)
    _check_gateways(selections)
    return selections


def read_json(text: str, invalid: Invalid) -> Any:
    """JSON without repeated keys, of which all but one would be lost."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise invalid(
                    f'{shorten_repr(key)} is there twice', 'keep one'
                )
            found[key] = value
        return found

    try:
        return json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise invalid(f'it is not JSON: {error}', 'correct it') from error


def _invalid_entry(position: int, what: str, remedy: str) -> InvalidAnnotation:
    where = f', entry {position}' if position else ''
    return InvalidAnnotation(
        f'annotation {NETWORKS}{where}: {what}; {remedy}.'
    )


def shorten_repr(value: object) -> str:
    """The value for a message, 80 characters at most."""
    text = repr(value)
    return text if len(text) <= 80 else f'{text[:77]}...'


def _parse_json_form(value: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    items = read_json(value, partial(_invalid_entry, 0))
    if not isinstance(items, list):
        raise _invalid_entry(
            0,
            f'{shorten_repr(items)} is not a list',
            'put it in square brackets',
        )
    for position, keys in enumerate(items, 1):
        if not isinstance(keys, dict):
            raise _invalid_entry(
                position,
                f'{shorten_repr(keys)} is not an object',
                'write {"name": "NETWORK"}',
            )
        yield position, keys


def _parse_short_form(value: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The keys that ``[namespace/]name[@interface]`` stands for."""
    for position, item in enumerate(value.split(','), 1):
        network, at, interface = item.strip().partition('@')
        namespace, slash, name = network.rpartition('/')
        keys = {'name': name}
        if not item.strip():
            raise _invalid_entry(position, 'it is empty', 'remove the comma')
        if '@' in interface:
            raise _invalid_entry(
                position, f'{shorten_repr(item)} has two @', 'keep one'
            )
        if slash:
            keys['namespace'] = namespace
        if at:
            keys['interface'] = interface
        yield position, keys


def _read_element(
    invalid: Invalid, position: int, keys: Mapping[str, Any], namespace: str
) -> Selection:
    given = _read_keys(invalid, keys)
    if 'name' not in given:
        raise invalid('it has no name', 'add the name of the network')
    if 'ips' in given and not given['ips']:
        raise invalid('ips is empty', 'add an address, or leave ips out')
    if 'ips' in given and 'ipam-claim-reference' in given:
        raise invalid('it has ips and ipam-claim-reference', 'keep one')
    gateways = _read_addresses(invalid, 'default-route', given)
    return Selection(
        namespace=given.get('namespace', namespace),
        name=given['name'],
        ifname=given.get('interface', f'net{position}'),
        ips=_read_addresses(invalid, 'ips', given),
        mac=given.get('mac', '').lower().replace('-', ':'),
        guid=given.get('infiniband-guid', '').lower(),
        gateways=gateways if 'default-route' in given else None,
        extras=tuple(key for key in _EXTRAS if given.get(key)),
        unknown=tuple(key for key in keys if _is_unknown(key)),
    )


def _read_keys(invalid: Invalid, keys: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of the specification, each of its type and form."""
    given = {}
    for key, value in keys.items():
        # null is how the NPWG's Go client writes "no cni-args"
        if key in _TYPES and (key, value) != ('cni-args', None):
            _check_form(invalid, key, value)
            given[key] = value
    return given


def _is_unknown(key: str) -> bool:
    # the specification leaves reverse-DNS keys to other implementations
    return key not in _TYPES and not _CUSTOM_KEY.fullmatch(key)


def refuse_unknown(selection: Selection) -> None:
    """Refuse keys of no specification: a typo is not half-honoured.

    :raises InvalidAnnotation: naming the network, a key, and the known ones.
    """
    for key in selection.unknown[:1]:
        raise InvalidAnnotation(
            f'annotation {NETWORKS}, network {selection.namespace}/'
            f'{selection.name}: there is no key {shorten_repr(key)}; use '
            f'{", ".join(_TYPES)}, or a reverse-DNS key.'
        )


def _check_form(invalid: Invalid, key: str, value: object) -> None:
    kind, words = _TYPES[key]
    if not isinstance(value, kind):
        raise invalid(
            f'{key} {shorten_repr(value)} is not {words}', 'correct it'
        )
    if key in _FORMS:
        form, words, remedy = _FORMS[key]
        if not form.fullmatch(str(value)):
            raise invalid(
                f'{key} {shorten_repr(value)} is not {words}', remedy
            )


def _read_addresses(
    invalid: Invalid, key: str, given: Mapping[str, Any]
) -> tuple[str, ...]:
    form, remedy = _ADDRESSES[key]
    found = []
    for text in given.get(key, ()):
        try:
            if not form.fullmatch(text):
                raise ValueError
            address = ipaddress.ip_interface(text)
        except (TypeError, ValueError) as error:
            raise invalid(
                f'{key}: {shorten_repr(text)} is not an IP address', remedy
            ) from error
        found.append(str(address) if '/' in text else str(address.ip))
    return tuple(found)


def _check_ifnames(selections: tuple[Selection, ...]) -> None:
    seen: dict[str, int] = {}
    for position, selection in enumerate(selections, 1):
        if selection.ifname in model.RESERVED_IFNAMES:
            raise _invalid_entry(
                position,
                f'interface {selection.ifname!r} is one that every pod has',
                'name it otherwise (without a name, entry N is netN)',
            )
        first = seen.setdefault(selection.ifname, position)
        if first != position:
            raise _invalid_entry(
                position,
                f'interface {selection.ifname!r} is that of entry {first}, '
                f'too',
                'name it otherwise (without a name, entry N is netN)',
            )


def _check_gateways(selections: tuple[Selection, ...]) -> None:
    seen: dict[int, str] = {}
    for position, selection in enumerate(selections, 1):
        for gateway in selection.gateways or ():
            version = ipaddress.ip_address(gateway).version
            if version in seen:
                raise _invalid_entry(
                    position,
                    f'default-route {gateway!r} is the second for '
                    f'IPv{version}, after {seen[version]!r}',
                    'keep one in the whole annotation',
                )
            seen[version] = gateway
