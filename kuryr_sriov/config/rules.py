# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with the values of ``[sriov]``: the rules."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from kuryr_sriov import model, plugins

Plugins = Mapping[str, Collection[str]]
"""Names of the installed drivers, for each entry-point group."""

_PATHS = 'kubelet_root_dir', 'state_dir'
_TIMEOUTS = (
    'metadata_timeout',
    'device_timeout',
    'pf_lock_timeout',
    'attachment_timeout',
    'kubelet_timeout',
)
_MAPPINGS = (
    'default_physnet_subnets',
    'physnet_resource_mappings',
    'resource_driver_mappings',
)

_MAC = re.compile('[0-9a-f]{2}(:[0-9a-f]{2}){5}', re.ASCII)
_RESOURCE = re.compile('[a-zA-Z0-9_-]+')
_UUID = re.compile('[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', re.I)
_LABEL = '[a-z0-9]([-a-z0-9]*[a-z0-9])?'
_PREFIX = re.compile(rf'{_LABEL}(\.{_LABEL})*')


def find_problems(
    sriov: Mapping[str, Any], installed: Plugins
) -> Iterator[str]:
    """Every mistake, a sentence each: option, offending part, remedy.

    :param sriov: option to value. Rules on an option that is not there,
        because its text could not be read, are skipped.
    """
    yield from _check_choices(sriov, installed)
    yield from _check_scalars(sriov)
    yield from _check_guest_macs(sriov)
    yield from _check_subnets(sriov)
    yield from _check_networks(sriov)
    yield from _check_resources(sriov)
    if all(option in sriov for option in _MAPPINGS):
        yield from _check_links(*(sriov[option] for option in _MAPPINGS))


def _word_problem(option: str, what: str, remedy: str) -> str:
    return f'[sriov] {option}: {what}; {remedy}.'


def _list_names(names: Collection[str]) -> str:
    return ', '.join(sorted(names)) or 'nothing'


def _check_choices(
    sriov: Mapping[str, Any], installed: Plugins
) -> Iterator[str]:
    for kind in plugins.KINDS:
        if kind.option not in sriov or kind.names:
            continue
        for name in kind.chosen_by(sriov[kind.option]):
            if name not in installed.get(kind.group, ()):
                yield _not_installed(kind, name, sriov, installed)
    hooks = sriov.get('attachment_hooks', ())
    for hook in dict.fromkeys(hooks):
        if hooks.count(hook) > 1:
            yield _word_problem(
                'attachment_hooks',
                f'hook {hook!r} is there twice',
                'remove one',
            )


def _not_installed(
    kind: plugins.Kind,
    name: str,
    sriov: Mapping[str, Any],
    installed: Plugins,
) -> str:
    value = sriov[kind.option]
    pairs = value.items() if isinstance(value, Mapping) else ()
    users = ', '.join(repr(user) for user, used in pairs if used == name)
    whose = 'resource' if kind.option == 'resource_driver_mappings' else 'for'
    of_whom = f' ({whose} {users})' if users else ''
    return _word_problem(
        kind.option,
        f'there is no {kind.word} {name!r}{of_whom}',
        f'choose one that is installed '
        f'({_list_names(installed.get(kind.group, ()))})',
    )


def _check_scalars(sriov: Mapping[str, Any]) -> Iterator[str]:
    for option in _TIMEOUTS:
        seconds = sriov.get(option, 1)
        if not 0 < seconds < math.inf:
            yield _word_problem(
                option,
                f'{seconds} is no time to wait',
                'set a number of seconds greater than 0',
            )
    for option in _PATHS:
        path = sriov.get(option, '/')
        if not path.startswith('/'):
            yield _word_problem(
                option,
                f'{path!r} is not an absolute path',
                'let it start with /',
            )
    option = 'device_plugin_resource_prefix'
    prefix = sriov.get(option, 'intel.com')
    if '/' in prefix:
        yield _word_problem(
            option,
            f'{prefix!r} contains a slash',
            f'set what is before it, such as {prefix.split("/")[0]!r}',
        )
    elif not _PREFIX.fullmatch(prefix):
        yield _word_problem(
            option,
            f'{prefix!r} is not a DNS name in lower case',
            'set the resourcePrefix of the device plugin',
        )


def _check_guest_macs(sriov: Mapping[str, Any]) -> Iterator[str]:
    for entry in sriov.get('guest_macs', ()):
        pci, _, mac = entry.partition('=')
        if not (model.PCI_ADDRESS.fullmatch(pci) and _MAC.fullmatch(mac)):
            yield _word_problem(
                'guest_macs',
                f'{entry!r} is not PCI=MAC',
                'write it in full and in lower case, as '
                "'0000:00:06.0=fa:16:3e:00:00:01'",
            )


def _check_subnets(sriov: Mapping[str, Any]) -> Iterator[str]:
    option = 'default_physnet_subnets'
    subnets = sriov.get(option, {})
    yield from _check_physnets(option, subnets)
    neutron = sriov.get('vif_driver') == 'neutron'
    for physnet, subnet in subnets.items():
        if not subnet:
            yield _word_problem(
                option,
                f'physnet {physnet!r} has an empty subnet id',
                'set the id, or leave the physnet out',
            )
        elif neutron and not _UUID.fullmatch(subnet):
            yield _word_problem(
                option,
                f'{subnet!r} (physnet {physnet!r}) is not a UUID',
                'set the id that "openstack subnet show" prints',
            )


def _check_networks(sriov: Mapping[str, Any]) -> Iterator[str]:
    option = 'network_physnets'
    networks = sriov.get(option, {})
    if sriov.get('vif_driver') == 'neutron':
        for network in networks:
            if not _UUID.fullmatch(network):
                yield _word_problem(
                    option,
                    f'{network!r} is not a UUID',
                    'set the id that "openstack network show" prints',
                )
    resources = sriov.get('physnet_resource_mappings', {})
    for physnet in dict.fromkeys(networks.values()):
        if resources and physnet not in resources:
            yield _word_problem(
                'physnet_resource_mappings',
                f'physnet {physnet!r} of {option} has no resource',
                f"add '{physnet}:RESOURCE'",
            )


def _check_physnets(option: str, mapping: Mapping[str, str]) -> Iterator[str]:
    for physnet in mapping:
        if not physnet or ',' in physnet:
            yield _word_problem(
                option,
                f'{physnet!r} is not a physnet',
                'write PHYSNET:VALUE pairs, each with its colon',
            )


def _check_resources(sriov: Mapping[str, Any]) -> Iterator[str]:
    mapping = sriov.get('physnet_resource_mappings', {})
    yield from _check_physnets('physnet_resource_mappings', mapping)
    names = {
        'physnet_resource_mappings': mapping.values(),
        'resource_driver_mappings': sriov.get('resource_driver_mappings', {}),
    }
    for option in names:
        for name in dict.fromkeys(names[option]):
            if not _RESOURCE.fullmatch(name):
                yield _word_problem(
                    option,
                    f'{name!r} is not a resource name',
                    'use letters, digits, - and _ only, without prefix',
                )
    users: dict[str, list[str]] = {}
    for physnet, name in mapping.items():
        users.setdefault(name, []).append(physnet)
    for name, physnets in users.items():
        if len(physnets) > 1:
            yield _word_problem(
                'physnet_resource_mappings',
                f'resource {name!r} is on physnets {_list_names(physnets)}',
                'give each physnet a resource of its own',
            )


def _check_links(
    subnets: Mapping[str, str],
    resources: Mapping[str, str],
    drivers: Mapping[str, str],
) -> Iterator[str]:
    """An empty ``resources`` means: each has the name of its physnet."""
    for physnet in subnets:
        if resources and physnet not in resources:
            yield _word_problem(
                'physnet_resource_mappings',
                f'physnet {physnet!r} of default_physnet_subnets has no '
                f'resource',
                f"add '{physnet}:RESOURCE'",
            )
        elif not resources and not _RESOURCE.fullmatch(physnet):
            yield _word_problem(
                'physnet_resource_mappings',
                f'physnet {physnet!r} cannot name its own resource',
                f"add '{physnet}:RESOURCE'",
            )
    for resource in dict.fromkeys(resources.values() or subnets):
        if resource not in drivers and _RESOURCE.fullmatch(resource):
            yield _word_problem(
                'resource_driver_mappings',
                f'resource {resource!r} has no driver',
                f"add '{resource}:DRIVER'",
            )
