# SPDX-License-Identifier: Apache-2.0
"""Plugins by name: found, loaded by stevedore, and checked.

Each contract has a version. A plugin's class body states the one that it
was written for::

    class CraneDriver(BindingDriver):
        contract = 1

and may then rely, in every release that supports that version, on the
contract's methods, their arguments and errors, and on the fields of
``kuryr_sriov.model``: fields may be added, with a default. The releases
change a contract in two ways:

* A new method comes with a body that does what was done before, so that
  plugins of older versions work on. The version is raised: a plugin that
  states it is refused by releases that would never call the method.
* What breaks plugins raises the oldest version that is supported, too;
  the release notes announce it a release before.

A version outside of what is supported is refused when the plugin is loaded,
and so is a plugin that states none: inherited, it would always be the
current one, whatever the plugin was written for.
"""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from stevedore import DriverManager

from kuryr_sriov.exceptions import PluginError

SUBNET_DRIVERS = 'kuryr_sriov.subnet_drivers'
VIF_DRIVERS = 'kuryr_sriov.vif_drivers'
BINDING_DRIVERS = 'kuryr_sriov.binding_drivers'
NODE_STEPS = 'kuryr_sriov.node_steps'

OLDEST = {SUBNET_DRIVERS: 1, VIF_DRIVERS: 1, BINDING_DRIVERS: 1, NODE_STEPS: 1}
"""The oldest version of each group's contract that is still supported."""

CONTRACTS = {
    SUBNET_DRIVERS: 'kuryr_sriov.drivers.base:PodSubnetsDriver',
    VIF_DRIVERS: 'kuryr_sriov.drivers.base:PodVIFDriver',
    BINDING_DRIVERS: 'kuryr_sriov.binding.base:BindingDriver',
    NODE_STEPS: 'kuryr_sriov.handlers.hooks:NodeStep',
}
"""What a plugin of each group subclasses."""

OURS = f'{__package__}.'

GROUPS = tuple(OLDEST)
"""The entry-point groups that the library loads plugins from."""


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

    :param base: the contract, an abstract class whose ``contract`` is its
        current version.
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
    reason = broken(plugin, base, group)
    if reason:
        raise PluginError(f'{_label(entry_point)} {reason}')
    return cast(type[Any], plugin)


def _find(group: str, name: str) -> EntryPoint:
    found = tuple(entry_points(group=group, name=name))
    if not found:
        installed = ', '.join(sorted(names(group))) or 'nothing'
        raise PluginError(
            f'there is no {_kind(group)} {name!r} in {group}; installed: '
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
        f'{_kind(entry_point.group)} {entry_point.name!r} in '
        f'{entry_point.group} ({entry_point.value}, of {origin})'
    )


def _kind(group: str) -> str:
    return group.rpartition('_')[2].removesuffix('s')


def broken(plugin: Any, base: Any, group: str) -> str:
    """What breaks the contract, and the remedy; empty for nothing."""
    contract = f'{base.__module__}.{base.__qualname__}'
    if not inspect.isclass(plugin):
        return f'is not a class; make it a subclass of {contract}.'
    if not issubclass(plugin, base):
        return f'is not a subclass of {contract}; make it one.'
    missing = ', '.join(sorted(getattr(plugin, '__abstractmethods__', ())))
    if missing:
        return f'lacks what {contract} requires: {missing}; implement it.'
    return _outdated(_stated(plugin), contract, OLDEST[group], base.contract)


def _stated(plugin: type[Any]) -> Any:
    """The contract version that the plugin itself states; None for none.

    Our own classes are released with the contract and need not state it.
    """
    cls = next(cls for cls in plugin.__mro__ if 'contract' in vars(cls))
    ours = cls.__module__.startswith(OURS)
    inherited = ours and not plugin.__module__.startswith(OURS)
    return None if inherited else vars(cls)['contract']


def _outdated(version: Any, contract: str, oldest: int, newest: int) -> str:
    if version is None:
        return (
            f'does not state which version of {contract} it was written '
            f'for; put "contract = {newest}" into its class body once it '
            f'passes the suite in kuryr_sriov.testing.'
        )
    if type(version) is int and oldest <= version <= newest:
        return ''
    supported = str(newest) if oldest == newest else f'{oldest} to {newest}'
    late, early = 'its distribution', 'kuryr-sriov'
    if type(version) is int and version > newest:
        late, early = early, late
    return (
        f'was written for version {version!r} of {contract}; this release '
        f'supports {supported}. Upgrade {late}, or install an older release '
        f'of {early}.'
    )
