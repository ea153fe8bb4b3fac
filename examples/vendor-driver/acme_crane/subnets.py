# SPDX-License-Identifier: Apache-2.0
"""Subnet driver ``listed``: the operator says which network is on which."""

from __future__ import annotations

from oslo_config import cfg

from acme_crane import GROUP
from kuryr_sriov import (
    InvalidAnnotation,
    NetworkRequest,
    ProviderRefused,
    Subnet,
)
from kuryr_sriov.drivers.base import PodSubnetsDriver


class ListedSubnetsDriver(PodSubnetsDriver):
    """Subnets from kuryr.conf; what a NAD says of them is not read.

    For clusters whose users may write NADs, but not choose their VLAN.
    """

    contract = 1
    group = GROUP
    options = (
        cfg.DictOpt(
            'subnets',
            default={},
            help='The subnet of each network: NAMESPACE/NAME:SUBNET_ID. '
            'Two ids, joined by +, make it dual-stack.',
        ),
    )

    def get_subnets(self, request: NetworkRequest) -> tuple[Subnet, ...]:
        """The listed subnets, all of one network.

        :raises InvalidAnnotation: the network is not listed, or its subnets
            do not belong together.
        :raises ProviderRefused: the provider does not know a subnet.
        """
        ids = self.conf.subnets.get(str(request), '')
        if not ids:
            raise InvalidAnnotation(
                f'network {request} has no subnet; add {request}:SUBNET_ID '
                f'to [{GROUP}] subnets'
            )
        try:
            subnets = tuple(map(self.describe, ids.split('+')))
        except ProviderRefused as error:
            raise ProviderRefused(
                f'network {request}: {error}; correct [{GROUP}] subnets'
            ) from error
        if len({subnet.network for subnet in subnets}) > 1:
            raise InvalidAnnotation(
                f'network {request} has subnets of several networks, {ids}; '
                f'correct [{GROUP}] subnets'
            )
        return subnets
