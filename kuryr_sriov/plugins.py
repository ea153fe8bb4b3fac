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
and so is a plugin that states none. Our own plugins are released with the
contracts and need not state it.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, cast

from stevedore import DriverManager

from kuryr_sriov.exceptions import PluginError

Side = Literal['node', 'controller']


@dataclass(frozen=True)
class Kind:
    """A kind of plugin: all that the library knows of it stands here.

    :param group: entry-point group.
    :param word: what messages call one.
    :param contract: the class that a plugin subclasses.
    :param oldest: version of the contract that is still supported.
    :param newest: version that this release has.
    :param option: of ``[sriov]``, by which the operator chooses.
    :param side: which of the two roots loads it.
    :param names: entry points by the option's value, where the value is not
        a name or some names.
    """

    group: str
    word: str
    contract: str
    option: str
    side: Side
    oldest: int = 1
    newest: int = 1
    names: Mapping[object, str] = field(default_factory=dict)

    def chosen_by(self, value: Any) -> tuple[str, ...]:
        """Names of the plugins that a value of the option chooses."""
        if self.names:
            return (self.names[value],)
        if isinstance(value, str):
            return (value,)
        if isinstance(value, Mapping):
            return tuple(dict.fromkeys(value.values()))
        return tuple(value)


SUBNET_DRIVERS = Kind(
    'kuryr_sriov.subnet_drivers',
    'driver',
    'kuryr_sriov.drivers.base:PodSubnetsDriver',
    'subnet_driver',
    'controller',
)
VIF_DRIVERS = Kind(
    'kuryr_sriov.vif_drivers',
    'driver',
    'kuryr_sriov.drivers.base:PodVIFDriver',
    'vif_driver',
    'controller',
    # policy_fields, refresh_vifs, find_active, describe_port, preflight_nodes
    newest=2,
)
NODE_VIF_DRIVERS = Kind(
    VIF_DRIVERS.group,
    VIF_DRIVERS.word,
    VIF_DRIVERS.contract,
    'node_vif_drivers',
    VIF_DRIVERS.side,
    newest=VIF_DRIVERS.newest,
)
"""The same drivers, chosen for some nodes."""

BINDING_DRIVERS = Kind(
    'kuryr_sriov.binding_drivers',
    'driver',
    'kuryr_sriov.binding.base:BindingDriver',
    'resource_driver_mappings',
    'node',
    newest=2,  # change_settings
)
ALLOCATIONS = Kind(
    'kuryr_sriov.allocations',
    'source',
    'kuryr_sriov.allocations.base:Allocations',
    'enable_pod_resource_service',
    'node',
    names={True: 'podresources', False: 'checkpoint'},
)
ATTACHMENT_HOOKS = Kind(
    'kuryr_sriov.attachment_hooks',
    'hook',
    'kuryr_sriov.handlers.hooks:AttachmentHook',
    'attachment_hooks',
    'node',
)
KINDS = (
    BINDING_DRIVERS,
    SUBNET_DRIVERS,
    VIF_DRIVERS,
    NODE_VIF_DRIVERS,
    ALLOCATIONS,
    ATTACHMENT_HOOKS,
)
"""Every kind of plugin that the library loads."""

OURS = f'{__package__}.'


def list_installed() -> dict[str, frozenset[str]]:
    """Names of the installed plugins, for each entry-point group."""
    return {kind.group: list_names(kind) for kind in KINDS}


def list_names(kind: Kind) -> frozenset[str]:
    """Names of the installed plugins of a kind.

    None of them is imported.
    """
    return frozenset(entry_points(group=kind.group).names)


def load_plugin(kind: Kind, name: str) -> type[Any]:
    """The plugin class of that name; no other plugin is imported.

    :raises PluginError: there is no such plugin, there are two, it does not
        import, or it does not keep the contract. The message names the
        entry point and the distribution it came with.
    """
    entry_point = _find_entry_point(kind, name)
    try:
        plugin: Any = _Manager(entry_point).driver
    except Exception as error:
        raise PluginError(
            f'{_describe_plugin(kind, entry_point)} cannot be imported: '
            f'{type(error).__name__}: {error}; repair or reinstall it.'
        ) from error
    reason = find_breach(plugin, kind)
    if reason:
        raise PluginError(f'{_describe_plugin(kind, entry_point)} {reason}')
    return cast(type[Any], plugin)


def _find_entry_point(kind: Kind, name: str) -> EntryPoint:
    found = tuple(entry_points(group=kind.group, name=name))
    if not found:
        installed = ', '.join(sorted(list_names(kind))) or 'nothing'
        raise PluginError(
            f'there is no {kind.word} {name!r} in {kind.group}; installed: '
            f'{installed}. Install the distribution that brings it, or '
            f'choose another.'
        )
    if len(found) > 1:
        labels = ' and '.join(
            sorted(_describe_plugin(kind, each) for each in found)
        )
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


def _describe_plugin(kind: Kind, entry_point: EntryPoint) -> str:
    distribution = entry_point.dist
    origin = (
        f'{distribution.name} {distribution.version}'
        if distribution
        else 'an unknown distribution'
    )
    return (
        f'{kind.word} {entry_point.name!r} in {kind.group} '
        f'({entry_point.value}, of {origin})'
    )


def find_breach(plugin: Any, kind: Kind) -> str:
    """What breaks the contract, and the remedy; empty for nothing."""
    base: Any = pkgutil.resolve_name(kind.contract)
    contract = kind.contract.replace(':', '.')
    if not inspect.isclass(plugin):
        return f'is not a class; make it a subclass of {contract}.'
    if not issubclass(plugin, base):
        return f'is not a subclass of {contract}; make it one.'
    missing = ', '.join(sorted(getattr(plugin, '__abstractmethods__', ())))
    if missing:
        return f'lacks what {contract} requires: {missing}; implement it.'
    if plugin.__module__.startswith(OURS):
        return ''
    return _find_outdated(stated_version(plugin), contract, kind)


def stated_version(plugin: type[Any]) -> Any:
    """The contract version that the plugin states; None for our own ones."""
    bodies = (vars(cls) for cls in plugin.__mro__)
    return next((b['contract'] for b in bodies if 'contract' in b), None)


def _find_outdated(version: Any, contract: str, kind: Kind) -> str:
    oldest, newest = kind.oldest, kind.newest
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
