# SPDX-License-Identifier: Apache-2.0
"""VIF driver ``guest``: for nodes that are virtual machines of OpenStack.

There a VF is a port already: Nova made it before the machine was started, and
its MAC and VLAN are the hypervisor's. So no port is made, bound or changed;
the pod is promised a network, and its node finds out which port the VF is
that the kubelet allocates.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from oslo_config import cfg

from kuryr_sriov import exceptions, model
from kuryr_sriov.drivers import base
from kuryr_sriov.drivers.local import subnets_file


class GuestVIFDriver(base.PodVIFDriver):
    """Promises networks. It asks nobody, keeps nothing, and writes nothing.

    The subnets are described by ``[sriov] vif_driver``, for all nodes of the
    cluster. Where that is ``guest``, because all of them are virtual machines,
    a file describes them.
    """

    group = 'sriov_guest'
    options = (
        cfg.StrOpt(
            'subnets_file',
            default='/etc/kuryr/subnets.yaml',
            help='YAML file that lists the subnets pods can be on, in the '
            'form of [sriov_local] subnets_file, with the ids that Neutron '
            'has for networks and subnets. Read only where [sriov] '
            'vif_driver is guest.',
        ),
    )

    def __init__(self, conf: Any, cluster: str = '') -> None:
        super().__init__(conf, cluster)
        self._lock = threading.Lock()
        self._read: Mapping[str, subnets_file.LocalSubnet] | None = None

    @classmethod
    def preflight(cls, conf: Any) -> Sequence[str]:
        """The mistakes in the file of subnets, its absence among them."""
        try:
            subnets_file.read_subnets(conf.subnets_file)
        except exceptions.ConfigurationError as error:
            return error.problems
        return ()

    def describe_subnet(self, subnet_id: str) -> model.Subnet:
        """What the file says of a subnet.

        :raises ProviderRefused: it is not in the file.
        :raises ConfigurationError: the file cannot be read.
        """
        with self._lock:
            if self._read is None:
                self._read = subnets_file.read_subnets(self.conf.subnets_file)
            found = self._read
        if subnet_id not in found:
            raise exceptions.ProviderRefused(
                f'there is no subnet {subnet_id} in {self.conf.subnets_file}; '
                f'it has {", ".join(found)}'
            )
        return found[subnet_id].subnet

    def request_vifs(
        self, pod: model.Pod, requests: Sequence[model.NetworkRequest]
    ) -> tuple[model.Vif, ...]:
        """A promise for each request: network and resource, no port yet.

        :raises ProviderRefused: an address or MAC is asked for, which the
            port has already.
        """
        return tuple(_promise(request) for request in requests)

    def activate_vif(
        self, pod: model.Pod, vif: model.Vif, location: model.Location
    ) -> model.Vif:
        """The VIF is active: Nova bound its port when the node was started.

        :raises ProviderRefused: what the node reports does not fit.
        """
        if pod.node and pod.node != location.node:
            raise exceptions.ProviderRefused(
                f'port {vif.id} was reported by node {location.node!r} for '
                f'pod {pod}, which is on {pod.node!r}'
            )
        if location.physical_network != vif.physnet:
            raise exceptions.ProviderRefused(
                f'VF {location.pci_slot} of node {location.node} is on '
                f'physnet {location.physical_network}, but {vif.ifname} of '
                f'pod {pod} is on {vif.physnet}; correct [sriov] '
                'physnet_resource_mappings'
            )
        if not (vif.id and vif.provider_network):
            raise exceptions.ProviderRefused(
                f'{vif.ifname} of pod {pod} is no port of a virtual machine; '
                'recreate the pod, if [sriov] node_vif_drivers was changed'
            )
        return dataclasses.replace(vif, active=True)

    def release_vifs(self, pod: model.Pod) -> None:
        """Do nothing: the port is the node's, and stays with it."""

    def list_vifs(self) -> Iterable[model.OwnedVif]:
        """None: no port was made for a pod."""
        return ()

    def release_vif(self, owned: model.OwnedVif) -> None:
        """Do nothing; none was listed."""


def _promise(request: model.NetworkRequest) -> model.Vif:
    wishes = [*request.ips, *([request.mac] if request.mac else [])]
    if wishes:
        raise exceptions.ProviderRefused(
            f'{request} ({request.ifname}) asks for {", ".join(wishes)}, but '
            'on a node that is a virtual machine the VF is a port already, '
            'with its own addresses and MAC; take "ips" and "mac" out of the '
            'networks annotation'
        )
    first = request.subnets[0]
    return model.Vif(
        id='',
        ifname=request.ifname,
        network=str(request),
        resource=request.resource,
        physnet=first.physnet,
        mac='',
        gateways=tuple(
            str(ipaddress.ip_address(text)) for text in request.gateways or ()
        ),
        provider_network=first.network,
    )
