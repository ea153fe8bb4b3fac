# SPDX-License-Identifier: Apache-2.0
"""Which resource, which physnet, which driver: the operator's mappings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kuryr_sriov.exceptions import ConfigurationError


@dataclass(frozen=True, slots=True)
class Resources:
    """The mappings of ``[sriov]`` in kuryr.conf.

    A full resource name is ``prefix/name``, as pods and the kubelet write
    it; the options hold the bare name.

    :param prefix: ``device_plugin_resource_prefix``.
    :param names: ``physnet_resource_mappings``, physnet to bare name; empty
        where each resource has the name of its physnet.
    :param drivers: ``resource_driver_mappings``, bare name to entry point.
    """

    prefix: str
    names: Mapping[str, str]
    drivers: Mapping[str, str]

    def configured(self) -> tuple[str, ...]:
        """Full names of the resources that have a driver."""
        return tuple(f'{self.prefix}/{name}' for name in self.drivers)

    def resource_of(self, physnet: str) -> str:
        """Full name of the resource on a physnet.

        :raises ConfigurationError: no resource is configured for it.
        """
        name = self.names.get(physnet) if self.names else physnet
        if name is None:
            raise _missing_pair(
                'physnet_resource_mappings',
                f'physnet {physnet!r} has no resource',
                f'{physnet}:RESOURCE',
            )
        return f'{self.prefix}/{name}'

    def physnet_of(self, resource: str) -> str:
        """The physnet that a resource's VFs are on.

        :param resource: full name.
        :raises ConfigurationError: no physnet is configured for it.
        """
        name = self._bare_name(resource)
        if not self.names:
            return name
        for physnet, candidate in self.names.items():
            if candidate == name:
                return physnet
        raise _missing_pair(
            'physnet_resource_mappings',
            f'resource {resource!r} belongs to no physnet',
            f'PHYSNET:{name}',
        )

    def driver_of(self, resource: str) -> str:
        """Entry-point name of the binding driver for a resource.

        :param resource: full name.
        :raises ConfigurationError: no driver is configured for it.
        """
        name = self._bare_name(resource)
        if name not in self.drivers:
            raise _missing_pair(
                'resource_driver_mappings',
                f'resource {resource!r} has no driver',
                f'{name}:DRIVER',
            )
        return self.drivers[name]

    def _bare_name(self, resource: str) -> str:
        prefix, _, name = resource.rpartition('/')
        if prefix != self.prefix:
            raise ConfigurationError(
                [
                    f'[sriov] device_plugin_resource_prefix: resource '
                    f'{resource!r} does not start with {self.prefix + "/"!r}; '
                    f'set the prefix that the device plugin uses, or correct '
                    f'the resource name.'
                ]
            )
        return name


def _missing_pair(option: str, what: str, pair: str) -> ConfigurationError:
    return ConfigurationError([f'[sriov] {option}: {what}; add {pair!r}.'])
