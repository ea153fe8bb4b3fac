# SPDX-License-Identifier: Apache-2.0
"""Subnets as the NetworkAttachmentDefinition says, else the default ones."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Mapping
from typing import Any

from kuryr_sriov import exceptions, model
from kuryr_sriov.config import mappings
from kuryr_sriov.drivers import base


class NadSubnetsDriver(base.PodSubnetsDriver):
    """The NAD's ``subnetId``, else its physnet's default subnet.

    The default is ``[sriov] default_physnet_subnets`` of the physnet that
    the NAD's resource is on. A subnet that is on another wire than the
    resource is refused: the pod would reach somebody else's network.
    """

    def __init__(self, conf: Any, describe: base.DescribeSubnet) -> None:
        super().__init__(conf, describe)
        self._resources = mappings.Resources(
            conf.device_plugin_resource_prefix,
            conf.physnet_resource_mappings,
            conf.resource_driver_mappings,
        )

    def get_subnets(
        self, request: model.NetworkRequest
    ) -> tuple[model.Subnet, ...]:
        """At least one subnet, all of one network and one wire.

        :raises InvalidAnnotation: the NAD leads to no subnet, or to
            subnets that do not fit each other or its resource.
        :raises ConfigurationError: a mapping in kuryr.conf is missing.
        :raises ProviderRefused: the provider does not know a subnet.
        """
        ids = request.subnet_ids or (self._default_subnet(request),)
        subnets = tuple(
            self._on_wire(request, self._describe_subnet(request, each))
            for each in ids
        )
        for index, subnet in enumerate(subnets):
            for other in subnets[:index]:
                _check_pair(request, other, subnet)
        return subnets

    def _default_subnet(self, request: model.NetworkRequest) -> str:
        if not request.resource:
            raise _invalid_nad(
                request,
                'names neither a subnet nor a resource',
                'set subnetId in openstack.org/kuryr-config, or annotate '
                'k8s.v1.cni.cncf.io/resourceName',
            )
        physnet = self._resources.physnet_of(request.resource)
        subnet_id: str = self.conf.default_physnet_subnets.get(physnet, '')
        if not subnet_id:
            raise _invalid_nad(
                request,
                f'names no subnet, and physnet {physnet} of its resource '
                f'{request.resource} has no default',
                'set subnetId in openstack.org/kuryr-config, or add '
                f'{physnet}:SUBNET to [sriov] default_physnet_subnets',
            )
        return subnet_id

    def _describe_subnet(
        self, request: model.NetworkRequest, subnet_id: str
    ) -> model.Subnet:
        try:
            return self.describe(subnet_id)
        except exceptions.ProviderRefused as error:
            message = f'NAD {request}: {error}'
            raise exceptions.ProviderRefused(message) from error

    def _on_wire(
        self, request: model.NetworkRequest, subnet: model.Subnet
    ) -> model.Subnet:
        """The subnet with its physnet, which fits the request's resource."""
        if not subnet.physnet:
            physnet = self._configured_physnet(request, subnet)
            subnet = dataclasses.replace(subnet, physnet=physnet)
        resource = self._resources.resource_of(subnet.physnet)
        if request.resource not in ('', resource):
            raise _invalid_nad(
                request,
                f'names resource {request.resource}, but its subnet '
                f'{subnet.id} is on physnet {subnet.physnet}, whose resource '
                f'is {resource}',
                'correct k8s.v1.cni.cncf.io/resourceName or the subnet',
            )
        return subnet

    def _configured_physnet(
        self, request: model.NetworkRequest, subnet: model.Subnet
    ) -> str:
        """Neutron tells it only to those who may read provider attributes.

        The NAD's resource does not say it: to check a NAD against itself
        would let its author choose the wire.
        """
        physnets: Mapping[str, str] = self.conf.network_physnets
        if subnet.network in physnets:
            return physnets[subnet.network]
        for physnet, default in self.conf.default_physnet_subnets.items():
            if default == subnet.id:
                return str(physnet)
        raise _invalid_nad(
            request,
            f'is on subnet {subnet.id}, whose physnet is not known: its '
            'network has none, or this user may not read it',
            'use a subnet of a provider network, and add '
            f'{subnet.network}:PHYSNET to [sriov] network_physnets',
        )


def _check_pair(
    request: model.NetworkRequest, one: model.Subnet, two: model.Subnet
) -> None:
    if one.network != two.network:
        raise _invalid_nad(
            request,
            f'has subnet {one.id} of network {one.network} and subnet '
            f'{two.id} of network {two.network}',
            'use subnets of one network, or one NAD for each',
        )
    version = ipaddress.ip_network(two.cidr).version
    if ipaddress.ip_network(one.cidr).version == version:
        raise _invalid_nad(
            request,
            f'has two IPv{version} subnets, {one.id} ({one.cidr}) and '
            f'{two.id} ({two.cidr})',
            'use one IPv4 and one IPv6 subnet, or one NAD for each',
        )


def _invalid_nad(
    request: model.NetworkRequest, what: str, remedy: str
) -> exceptions.InvalidAnnotation:
    return exceptions.InvalidAnnotation(f'NAD {request} {what}; {remedy}')
