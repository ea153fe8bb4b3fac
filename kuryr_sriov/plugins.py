# SPDX-License-Identifier: Apache-2.0
"""Drivers by name: found, loaded by stevedore, and checked."""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from stevedore import DriverManager

from kuryr_sriov.exceptions import PluginError

SUBNET_DRIVERS = 'kuryr_sriov.subnet_drivers'
VIF_DRIVERS = 'kuryr_sriov.vif_drivers'
BINDING_DRIVERS = 'kuryr_sriov.binding_drivers'

GROUPS = SUBNET_DRIVERS, VIF_DRIVERS, BINDING_DRIVERS
"""The entry-point groups that the library loads drivers from."""


def installed() -> dict[str, frozenset[str]]:
    """Names of the installed drivers, for each group."""
    return {group: names(group) for group in GROUPS}


def names(group: str) -> frozenset[str]:
    """Names of the installed drivers of an entry-point group.

    None of them is imported.
    """
    return frozenset(entry_points(group=group).names)


def load(group: str, name: str, base: Any) -> type[Any]:
    """The driver class of that name; no other driver is imported.

    :param base: the contract, an abstract class with a ``contract`` version.
    :raises PluginError: there is no such driver, there are two, it does not
        import, or it does not keep the contract. The message names the
        entry point and the distribution it came with.
    """
    entry_point = _find(group, name)
    try:
        plugin: Any = _Manager(entry_point).driver
    except Exception as error:
        raise PluginError(
            f'{_label(entry_point)} cannot be imported: '
            f'{type(error).__name__}: {error}; repair or reinstall it.'
        ) from error
    broken = _broken(plugin, base)
    if broken:
        raise PluginError(f'{_label(entry_point)} {broken}')
    return cast(type[Any], plugin)


def _find(group: str, name: str) -> EntryPoint:
    found = tuple(entry_points(group=group, name=name))
    if not found:
        installed = ', '.join(sorted(names(group))) or 'nothing'
        raise PluginError(
            f'there is no driver {name!r} in {group}; installed: '
            f'{installed}. Install the distribution that brings it, or '
            f'choose another.'
        )
    if len(found) > 1:
        labels = ' and '.join(sorted(map(_label, found)))
        raise PluginError(
            f'{labels} have the same name; uninstall all but one.'
        )
    return found[0]


# no DriverManager[Any]: older releases of stevedore are not generic
class _Manager(DriverManager):  # type: ignore[type-arg]
    """Loads one entry point, and looks at no other.

    stevedore's own list comes from a cache on disk that forgets the
    distributions and can miss those installed in the last two minutes.
    """

    def __init__(self, entry_point: EntryPoint) -> None:
        self._entry_point = entry_point
        super().__init__(entry_point.group, entry_point.name)

    def list_entry_points(self) -> list[EntryPoint]:
        return [self._entry_point]


def _label(entry_point: EntryPoint) -> str:
    distribution = entry_point.dist
    origin = (
        f'{distribution.name} {distribution.version}'
        if distribution
        else 'an unknown distribution'
    )
    return (
        f'driver {entry_point.name!r} in {entry_point.group} '
        f'({entry_point.value}, of {origin})'
    )


def _broken(plugin: Any, base: Any) -> str:
    """What breaks the contract, and the remedy; empty for nothing."""
    contract = f'{base.__module__}.{base.__qualname__}'
    if not inspect.isclass(plugin):
        return f'is not a class; make it a subclass of {contract}.'
    if not issubclass(plugin, base):
        return f'is not a subclass of {contract}; make it one.'
    missing = ', '.join(sorted(getattr(plugin, '__abstractmethods__', ())))
    if missing:
        return f'lacks what {contract} requires: {missing}; implement it.'
    version = getattr(plugin, 'contract', None)
    if version != base.contract:
        return (
            f'was written for version {version} of {contract}; this is '
            f'version {base.contract}. Install releases that match.'
        )
    return ''
