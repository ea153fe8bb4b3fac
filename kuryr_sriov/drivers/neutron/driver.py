# SPDX-License-Identifier: Apache-2.0
"""Requests, activates and releases ports; see `NeutronVIFDriver`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from typing import Any

from kuryr_sriov import exceptions, model
from kuryr_sriov.clients import neutron
from kuryr_sriov.drivers import base
from kuryr_sriov.drivers.neutron import (
    lookups,
    neutron_options,
    port_body,
    port_store,
)

LOG = logging.getLogger(__name__)

_LOCKS = 64
_POLL = 0.3


class NeutronVIFDriver(base.PodVIFDriver):
    """Ports of vnic_type ``direct``, bound where the pod's node is.

    A port belongs to a pod by ``device_id`` (the pod's uid) and to an
    interface by its name (``namespace/pod/ifname``): both are there from
    the request that makes it, so that no crash leaves a port without owner.

    With its caches warm, a pod costs one request for all of its ports, one
    for each port that is activated, and one for each that is deleted.
    """

    group = 'neutron'
    options = neutron_options.all_options()

    def __init__(self, conf: Any) -> None:
        super().__init__(conf)
        self._defaults = neutron_options.defaults(conf)
        self._timeouts = neutron_options.active_timeouts(conf)
        self._grace = timedelta(seconds=conf.orphan_grace)
        self._client = neutron.NeutronClient(conf)
        self._facts = lookups.Facts(self._client, conf.cache_ttl)
        self._store = port_store.PortStore(self._client, self._defaults)
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def describe_subnet(self, subnet_id: str) -> model.Subnet:
        """As the contract says; remembered for ``[neutron] cache_ttl``.

        Without a role that may read provider attributes, ``physnet`` is
        empty and ``vlan`` None.
        """
        return self._facts.subnet(subnet_id)

    def request_vifs(
        self, pod: model.Pod, requests: Sequence[model.NetworkRequest]
    ) -> tuple[model.Vif, ...]:
        """As the contract says; one bulk request for what is missing.

        :raises ProviderUnavailable: Neutron does not answer, or cannot bind
            a port to the pod's node.
        """
        if not pod.node:
            raise exceptions.TransientError(f'pod {pod} is on no node yet')
        self._store.load()
        with self._pod_lock(pod.uid):
            doubted = self._store.known.in_doubt(pod.uid)
            found = self._reusable(pod, requests)
            missing = [one for one in requests if one.ifname not in found]
            made = self._make(pod, missing)
            try:
                vifs = tuple(
                    self._vif((found | made)[one.ifname], one)
                    for one in requests
                )
                if doubted:
                    used = (found | made).values()
                    self._store.drop_doubles(pod, used)
            except Exception:
                self._store.undo(made.values())
                raise
            return vifs

    def activate_vif(
        self, vif: model.Vif, location: model.Location
    ) -> model.Vif:
        """As the contract says; writes the port's ``binding:profile``.

        :raises DeviceBusy: another port is on that VF.
        :raises ProviderRefused: the location contradicts the port, or the
            port is gone.
        :raises ProviderUnavailable: the port is not bound, or not ACTIVE
            in time where that is asked for.
        """
        self._store.load()
        self._check_location(vif, location)
        self._claim(vif, location)
        profile = port_body.profile(location, vif.trust is True)
        try:
            answer = self._client.update_port(
                vif.id, {'binding:profile': profile}
            )
        except neutron.NeutronRefused as error:
            self._store.known.unclaim(vif.id)
            if error.status == 404:
                self._store.known.drop(vif.id)
            subject = f'port {vif.id} of {vif.network}'
            raise port_store.explained(error, subject) from error
        port = port_body.parse(answer)
        self._store.known.put(port)
        if not port.bound or port.host != location.node:
            raise port_store.not_bound(port, vif.physnet, location.node)
        port = self._wait_active(port, self._timeouts.get(vif.resource, 0.0))
        rates = self._facts.rates(port.qos_policy)
        return port_body.with_settings(vif, port, rates)

    def release_vifs(self, pod: model.Pod) -> None:
        """As the contract says; tries all ports before it raises."""
        with self._pod_lock(pod.uid):
            failures = []
            for port in self._store.of(pod, certain=True):
                try:
                    self._store.delete(port)
                except exceptions.KuryrSriovError as error:
                    failures.append(error)
            if failures:
                raise failures[0]

    def list_vifs(self) -> Iterable[model.OwnedVif]:
        """As the contract says; by the cluster's tag.

        Neutron does not keep ``network``, ``resource`` and ``gateways``.
        """
        listed, _now = self._store.of_cluster()
        return [
            model.OwnedVif(port.pod_uid, self._bare_vif(port))
            for port in listed
        ]

    def collect_orphans(self, alive: Collection[str]) -> tuple[str, ...]:
        """As the contract says; age is measured by Neutron's clock.

        Collects doubles as well: ports whose creation was thought lost and
        that are not the ones in use. Without ``[neutron] cluster`` nothing
        is collected. A port that cannot be deleted is left for next time.
        """
        if not self._defaults.cluster:
            LOG.warning('[neutron] cluster is not set: no port is collected')
            return ()
        listed, now = self._store.of_cluster()
        gone = []
        for port in port_body.orphans(listed, alive, now - self._grace):
            try:
                self._store.delete(port)
                gone.append(port.id)
            except exceptions.KuryrSriovError as error:
                LOG.warning('orphaned port %s stays: %s', port.id, error)
        return tuple(gone)

    @classmethod
    def preflight(cls, conf: Any) -> tuple[str, ...]:
        """As the contract says; asks Keystone for a token."""
        problems = []
        client = neutron.NeutronClient(conf)
        try:
            if 'service' not in client.roles():
                problems.append(
                    'the user of [neutron] has not got role "service", which '
                    'writing binding:profile needs since Neutron 2024.1; '
                    '"admin" does not stand in for it'
                )
        finally:
            client.close()
        if not neutron_options.defaults(conf).cluster:
            problems.append(
                '[neutron] cluster is not set: ports of pods that are gone '
                'are not collected'
            )
        return tuple(problems)

    def close(self) -> None:
        """Close the connections; the next call makes new ones."""
        self._client.close()

    def _reusable(
        self, pod: model.Pod, requests: Sequence[model.NetworkRequest]
    ) -> dict[str, port_body.Port]:
        """Ports that the pod has already; misfits without VF are deleted."""
        found: dict[str, port_body.Port] = {}
        owned = self._store.of(pod)
        for one in requests:
            for port in owned:
                if port.ifname != one.ifname or one.ifname in found:
                    continue
                if port.fits(pod, one):
                    found[one.ifname] = port
                elif port.pci_slot:
                    raise exceptions.ProviderRefused(
                        f'pod {pod}, network {one}: {one.ifname} has port '
                        f'{port.id} already, on {port.host} {port.pci_slot}, '
                        'and that is not what is asked for now; make the pod '
                        'anew'
                    )
                else:
                    self._store.delete(port)
        return found

    def _make(
        self, pod: model.Pod, requests: Sequence[model.NetworkRequest]
    ) -> dict[str, port_body.Port]:
        if not requests:
            return {}
        try:
            return self._store.make(pod, requests)
        except neutron.NeutronRefused:
            # it may be because what is remembered is true no more
            self._facts.forget(
                net.id for one in requests for net in one.subnets
            )
            raise

    def _vif(
        self, port: port_body.Port, request: model.NetworkRequest
    ) -> model.Vif:
        subnets = {net.id: net for net in request.subnets}
        for id, _address in port.fixed_ips:
            # Neutron adds addresses of SLAAC subnets without being asked
            if id not in subnets:
                subnets[id] = self._facts.subnet(id)
        return port_body.to_vif(
            port,
            request,
            tuple(subnets.values()),
            self._facts.rates(port.qos_policy),
            self._defaults.trusted_physnets,
        )

    def _bare_vif(self, port: port_body.Port) -> model.Vif:
        """What the port alone tells of its VIF."""
        subnets = [self._facts.subnet(id) for id, _ip in port.fixed_ips]
        vif = model.Vif(
            id=port.id,
            ifname=port.ifname,
            network='',
            resource='',
            physnet=subnets[0].physnet if subnets else '',
            mac=port.mac,
            addresses=port_body.with_prefixes(port, subnets),
        )
        return port_body.with_settings(vif, port, lookups.Rates())

    def _check_location(
        self, vif: model.Vif, location: model.Location
    ) -> None:
        """Neutron would take any physnet, and rebind to any host."""
        physnet = location.physical_network
        if vif.physnet and physnet != vif.physnet:
            raise exceptions.ProviderRefused(
                f'port {vif.id} of {vif.network} is on physnet {vif.physnet}, '
                f'but VF {location.pci_slot} of {location.node} is on '
                f'{physnet}: check [sriov] physnet_resource_mappings'
            )
        port = self._store.known.get(vif.id)
        if port and port.host != location.node:
            raise exceptions.ProviderRefused(
                f'port {vif.id} of {vif.network} is bound to host '
                f'{port.host!r}, but its VF is on {location.node!r}'
            )

    def _claim(self, vif: model.Vif, location: model.Location) -> None:
        """Take the VF for the port: Neutron would give it to many."""
        node, pci_slot = location.node, location.pci_slot
        known = self._store.known
        for _attempt in range(2):
            holder = known.claim(node, pci_slot, vif.id)
            if holder == vif.id:
                return
            port = known.get(holder)
            if port is None or not port.pci_slot:
                break  # it is being activated right now
            self._store.reread(holder)
        raise exceptions.DeviceBusy(
            f'port {vif.id} of {vif.network}: VF {pci_slot} of {node} is held '
            f'by port {holder}; it becomes free when the pod of that port is '
            'released'
        )

    def _wait_active(
        self, port: port_body.Port, timeout: float
    ) -> port_body.Port:
        deadline = time.monotonic() + timeout
        while timeout and not port.active:
            if time.monotonic() > deadline:
                raise exceptions.ProviderUnavailable(
                    f'port {port.id} is still not ACTIVE after {timeout:g} s: '
                    f"host {port.host}'s SR-IOV agent does not see a VF "
                    f'{port.pci_slot} with MAC {port.mac} in use'
                )
            time.sleep(_POLL)
            port = port_body.parse(self._client.get('ports', 'port', port.id))
            self._store.known.put(port)
        return port

    def _pod_lock(self, pod_uid: str) -> threading.Lock:
        return self._locks[hash(pod_uid) % _LOCKS]
