# SPDX-License-Identifier: Apache-2.0
"""The driver: from requests to VIFs, and back."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from oslo_config import cfg

from kuryr_sriov import model
from kuryr_sriov.drivers import base
from kuryr_sriov.drivers.local import (
    assignment,
    database,
    ip_ranges,
    subnets_file,
)
from kuryr_sriov.drivers.local.holders import Allocations
from kuryr_sriov.exceptions import (
    ConfigurationError,
    DeviceBusy,
    ProviderRefused,
)


class LocalVIFDriver(base.PodVIFDriver):
    """VIFs from a file of subnets; no OpenStack.

    For one cluster: all controllers that share it share the database, by
    one file system. A VIF is kept as it was made; the subnets are read once,
    so that a change of the file is for VIFs made after a restart.
    """

    group = 'sriov_local'
    policy_fields = model.VF_POLICY
    options = (
        cfg.StrOpt(
            'subnets_file',
            default='/etc/kuryr/subnets.yaml',
            help='YAML file that lists the subnets pods can be on.',
        ),
        cfg.StrOpt(
            'database',
            default='/var/lib/kuryr-sriov/local.sqlite',
            help='SQLite file that holds the allocated addresses; made when '
            'it is missing. On a local file system.',
        ),
        cfg.FloatOpt(
            'database_timeout',
            default=10.0,
            min=0.0,
            help='Seconds to wait for another process that uses the database.',
        ),
    )

    def __init__(self, conf: Any, cluster: str = '') -> None:
        super().__init__(conf, cluster)
        self._subnets = subnets_file.read_subnets(conf.subnets_file)
        self._database = database.Database(
            conf.database, conf.database_timeout
        )
        with self._database.transaction():
            pass  # a file that cannot be used is a mistake found at start

    @classmethod
    def preflight(cls, conf: Any) -> Sequence[str]:
        """The mistakes in the file of subnets, its absence among them."""
        try:
            subnets_file.read_subnets(conf.subnets_file)
        except ConfigurationError as error:
            return error.problems
        return ()

    def describe_subnet(self, subnet_id: str) -> model.Subnet:
        """What the file says of a subnet.

        :raises ProviderRefused: it is not in the file.
        """
        return self._find_subnet(subnet_id).subnet

    def request_vifs(
        self, pod: model.Pod, requests: Sequence[model.NetworkRequest]
    ) -> tuple[model.Vif, ...]:
        """One VIF for each request, in order; all or none.

        Asked-for addresses may be outside the allocation pools. Only the
        gateways that the pod asks for become default routes: as in Multus,
        an additional interface does not take the pod's default route.

        :raises ProviderExhausted: a subnet has no address left, or another
            pod has the address or MAC asked for.
        :raises ProviderRefused: an address or MAC cannot be had, or the pod
            is to be made again first.
        :raises ProviderUnavailable: the database is locked.
        """
        wishes = {
            request.ifname: _describe_wish(request) for request in requests
        }
        with self._database.transaction() as allocations:
            found = allocations.find_vifs(pod.uid)
            kept = {}
            for ifname, (vif, earlier) in found.items():
                if wishes.get(ifname) == earlier:
                    kept[ifname] = vif
                elif vif.active:
                    _refuse_change(pod, ifname, earlier, wishes)
                else:
                    allocations.remove(vif.id)
            return tuple(
                kept.get(request.ifname)
                or self._make_vif(allocations, pod, request)
                for request in requests
            )

    def activate_vif(
        self, pod: model.Pod, vif: model.Vif, location: model.Location
    ) -> model.Vif:
        """Record where the VF is; the VIF is active from then on.

        :raises ProviderRefused: the VIF is not there or not the pod's, or
            its VF is on another node or wire.
        :raises DeviceBusy: another VIF has that VF.
        """
        with self._database.transaction() as allocations:
            kept, pod_uid = allocations.get(vif.id) or (None, '')
            if kept is None:
                raise ProviderRefused(
                    f'VIF {vif.id} ({vif.ifname} on {vif.network}) is not '
                    'there, released meanwhile; recreate the pod'
                )
            elsewhere = pod.node and pod.node != location.node
            if pod_uid != pod.uid or elsewhere:
                raise ProviderRefused(
                    f'VIF {vif.id} is of pod uid {pod_uid}; node '
                    f'{location.node!r} reported it for pod {pod} (uid '
                    f'{pod.uid}), which is on {pod.node!r}'
                )
            if location.physical_network != kept.physnet:
                raise ProviderRefused(
                    f'VF {location.pci_slot} of node {location.node} is on '
                    f'physnet {location.physical_network}, but VIF {vif.id} '
                    f'is on {kept.physnet}; correct [sriov] '
                    'physnet_resource_mappings'
                )
            holder = allocations.device_holder(
                location.node, location.pci_slot, vif.id
            )
            if holder:
                # Not for good: a deleted pod's VIF is released before long.
                raise DeviceBusy(
                    f'VF {location.pci_slot} of node {location.node} belongs '
                    f'to {holder}; release that pod if it is gone'
                )
            active = dataclasses.replace(kept, active=True)
            allocations.place(active, location)
        return active

    def release_vifs(self, pod: model.Pod) -> None:
        """Give back all VIFs of the pod (by uid). Idempotent."""
        with self._database.transaction() as allocations:
            allocations.release(pod.uid)

    def list_vifs(self) -> Iterable[model.OwnedVif]:
        """All VIFs of the database, oldest first."""
        with self._database.transaction() as allocations:
            return allocations.list_owned()

    def release_vif(self, owned: model.OwnedVif) -> None:
        """Forget one VIF.

        :raises DeviceBusy: it has been placed since it was listed.
        """
        with self._database.transaction() as allocations:
            kept, _pod_uid = allocations.get(owned.vif.id) or (None, '')
            if kept is not None and kept.active and not owned.placed:
                raise DeviceBusy(
                    f'VIF {owned.vif.id} of pod {owned.pod} has a VF by now'
                )
            allocations.remove(owned.vif.id)

    def _find_subnet(self, subnet_id: str) -> subnets_file.LocalSubnet:
        try:
            return self._subnets[subnet_id]
        except KeyError as error:
            raise ProviderRefused(
                f'there is no subnet {subnet_id} in {self.conf.subnets_file}; '
                f'it has {", ".join(self._subnets)}'
            ) from error

    def _make_vif(
        self,
        allocations: Allocations,
        pod: model.Pod,
        request: model.NetworkRequest,
    ) -> model.Vif:
        local = [self._find_subnet(subnet.id) for subnet in request.subnets]
        first = local[0].subnet
        chosen = assignment.choose_addresses(allocations, request, local)
        vif = model.Vif(
            id=str(uuid.uuid4()),
            ifname=request.ifname,
            network=str(request),
            resource=request.resource,
            physnet=first.physnet,
            mac=assignment.choose_mac(
                allocations, pod, request, first.network
            ),
            addresses=tuple(map(str, chosen)),
            gateways=tuple(
                str(ipaddress.ip_address(text))
                for text in request.gateways or ()
            ),
            routes=tuple(r for each in local for r in each.subnet.routes),
            dns=tuple(d for each in local for d in each.subnet.dns),
            vlan=first.vlan or 0,
            mtu=first.mtu,
        )
        if request.policy is not None:
            vif = request.policy.fill(vif)
        ips = [ip_ranges.to_number(each.ip) for each in chosen]
        allocations.add(pod, first.network, ips, _describe_wish(request), vif)
        return vif


def _describe_wish(request: model.NetworkRequest) -> str:
    """What is asked for, in a form to compare and to show."""
    wish = {
        'network': str(request),
        'resource': request.resource,
        'subnets': [subnet.id for subnet in request.subnets],
        'ips': request.ips,
        'mac': request.mac,
        'default-route': request.gateways,
        'policy': request.policy and request.policy.said(),
    }
    return json.dumps({key: value for key, value in wish.items() if value})


def _refuse_change(
    pod: model.Pod, ifname: str, earlier: str, wishes: Mapping[str, str]
) -> None:
    raise ProviderRefused(
        f'pod {pod}: {ifname} was made for {earlier} and is in use, now it is '
        f'asked for as {wishes.get(ifname, "nothing")}; recreate the pod'
    )
