# SPDX-License-Identifier: Apache-2.0
"""Requests, activates and releases ports; see `NeutronVIFDriver`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kuryr_sriov import exceptions, model
from kuryr_sriov.clients import neutron
from kuryr_sriov.clients.turns import KeyedLocks
from kuryr_sriov.drivers import base
from kuryr_sriov.drivers.neutron import (
    activation,
    cloud_check,
    lookups,
    neutron_options,
    port_body,
    port_request,
    port_store,
    port_vif,
)

LOG = logging.getLogger(__name__)


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
    policy_fields = model.VF_POLICY | {
        'security_groups',
        'port_security',
        'qos_policy',
        'active_timeout',
    }

    def __init__(self, conf: Any, cluster: str = '') -> None:
        super().__init__(conf, cluster)
        self._defaults = neutron_options.read_defaults(conf, cluster)
        self._client = neutron.NeutronClient(conf)
        self._hosts = neutron_options.read_host_names(conf)
        self._lookups = lookups.Lookups(self._client, conf.cache_ttl)
        self._store = port_store.PortStore(self._client, self._defaults)
        self._active_timeouts = neutron_options.active_timeouts(conf)
        self._activation = activation.Activation(
            self._client, self._store, self._lookups, self._defaults
        )
        self._pods = KeyedLocks()

    def tell_calls(self, tell: base.TellCall) -> None:
        """Repetitions by keystoneauth are part of the request."""
        self._client.tell_call = tell

    def forget_all(self) -> None:
        """Read the ports again before the next one is made."""
        self._store.known.forget_all()

    def describe_subnet(self, subnet_id: str) -> model.Subnet:
        """What Neutron says, remembered for ``[neutron] cache_ttl``.

        Without a role that may read provider attributes, ``physnet`` is
        empty and ``vlan`` None.
        """
        return self._lookups.subnet(subnet_id)

    def describe_port(self, port_id: str) -> model.GuestPort:
        """A port of Nova's, as Neutron has it now; nothing is written."""
        return self._lookups.guest_port(port_id)

    def request_vifs(
        self, pod: model.Pod, requests: Sequence[model.NetworkRequest]
    ) -> tuple[model.Vif, ...]:
        """VIFs in order; what is missing is made in one bulk request.

        :raises ProviderUnavailable: Neutron does not answer, or cannot bind
            a port to the pod's node.
        """
        if not pod.node:
            raise exceptions.TransientError(f'pod {pod} is on no node yet')
        pod = self._at_host(pod)
        requests = [
            port_request.with_active_timeout(one, self._active_timeouts)
            for one in requests
        ]
        self._store.load()
        with self._pods.hold(pod.uid):
            lost = self._store.known.lost_track_of(pod.uid)
            found = self._find_usable(pod, requests)
            missing = [one for one in requests if one.ifname not in found]
            made = self._make_ports(pod, missing)
            try:
                vifs = tuple(
                    self._to_vif((found | made)[one.ifname], one)
                    for one in requests
                )
                # A request whose answer was lost may have made the same ports.
                if lost:
                    # what was thought lost may have arrived after we looked
                    self._delete_others(pod, {**found, **made})
            except Exception:
                self._store.undo(made.values())
                raise
            return vifs

    def activate_vif(
        self, pod: model.Pod, vif: model.Vif, location: model.Location
    ) -> model.Vif:
        """Write the port's ``binding:profile``.

        :raises DeviceBusy: another port is on that VF.
        :raises ProviderRefused: the location contradicts the port, or the
            port is not the pod's, or is gone.
        :raises ProviderUnavailable: the port is not bound, or not ACTIVE
            in time where that is asked for.
        """
        self._store.load()
        host = self._hosts.host_of(location.node)
        return self._activation.activate(
            self._at_host(pod), vif, replace(location, node=host)
        )

    def release_vifs(self, pod: model.Pod) -> None:
        """Delete all ports of the pod; tries all before it raises."""
        self._store.load()
        with self._pods.hold(pod.uid):
            if self._store.known.may_lack_some_of(pod.uid):
                ports = self._store.look_for(pod)
            else:
                ports = self._store.of(pod)
            failures = []
            for port in ports:
                try:
                    self._store.delete(port)
                except exceptions.KuryrSriovError as error:
                    failures.append(error)
            if failures:
                raise failures[0]

    def list_vifs(self) -> Iterable[model.OwnedVif]:
        """The cluster's ports; age is measured by Neutron's clock.

        Neutron does not keep ``network``, ``resource`` and ``gateways``.
        """
        if not self._defaults.cluster:
            LOG.warning(
                '[neutron] cluster is not set, and the host does not tell '
                "the cluster's uid: no port is taken for one of ours"
            )
            return []
        listed, now = self._store.of_cluster()
        return [
            model.OwnedVif(
                # who asks goes by the names of Kubernetes
                replace(port.pod, node=self._hosts.node_of(port.host)),
                self._bare_vif(port),
                age=(now - port.created).total_seconds()
                if port.created
                else 0.0,
                placed=bool(port.pci_slot),
                in_use=port.active,
            )
            for port in listed
        ]

    def find_active(self, vif_ids: Collection[str]) -> tuple[str, ...]:
        """In one request for each hundred of them, however many there are."""
        return tuple(self._client.find_active_ports(vif_ids))

    def refresh_vifs(self, vifs: Sequence[model.Vif]) -> tuple[model.Vif, ...]:
        """In one listing; rates are as old as ``cache_ttl`` allows."""
        ports = {port.id: port for port in self._store.of_cluster()[0]}
        found = []
        for vif in vifs:
            # one whose QoS policy is not shown stops no other
            with contextlib.suppress(KeyError, exceptions.ProviderRefused):
                port = ports[vif.id]
                rates = self._lookups.rates(port.qos_policy)
                trusted = self._defaults.trusted_physnets
                found.append(port_vif.with_settings(vif, port, rates, trusted))
        return tuple(found)

    def release_vif(self, owned: model.OwnedVif) -> None:
        """Delete the port, unless it has changed hands since.

        :raises ProviderUnavailable: it has been placed since it was listed.
        """
        port = self._store.reread(owned.vif.id)
        if port is None:
            return
        if not port.is_of(self._defaults) or port.pod_uid != owned.pod.uid:
            raise exceptions.ProviderRefused(
                f'port {port.id} is not (or no longer) one of pod {owned.pod} '
                f'and cluster {self._defaults.cluster!r}'
            )
        if port.active or (port.pci_slot and not owned.placed):
            raise exceptions.ProviderUnavailable(
                f'port {port.id} of pod {owned.pod} is in use by now'
            )
        self._store.delete_unchanged(port)

    @classmethod
    def preflight(cls, conf: Any) -> tuple[str, ...]:
        """Whether the credentials have the roles, and nodes their hosts.

        It asks Keystone, and Neutron if the user may see its agents.
        """
        return tuple(cloud_check.find_faults(conf))

    @classmethod
    def preflight_nodes(
        cls, conf: Any, list_nodes: base.ListNodes
    ) -> tuple[str, ...]:
        """Whether each node has a host with an agent that is alive.

        :raises ProviderRefused: the user may not see the agents.
        """
        return tuple(cloud_check.find_hostless_nodes(conf, list_nodes))

    def close(self) -> None:
        """Close the connections; the next call makes new ones."""
        self._client.close()

    def _at_host(self, pod: model.Pod) -> model.Pod:
        """The pod on its node as Neutron calls that."""
        return replace(pod, node=self._hosts.host_of(pod.node))

    def _find_usable(
        self, pod: model.Pod, requests: Sequence[model.NetworkRequest]
    ) -> dict[str, port_body.Port]:
        """Ports that the pod has already, bound; others of it are deleted.

        Before anything is made or deleted, the pod's ports are looked at in
        Neutron if another process may have changed them.

        :raises ProviderRefused: one that is to go may be in use.
        """
        ports = self._store.of(pod)
        found = _choose_ports(pod, requests, ports)
        missing = len(found) < len(requests)
        strange = len(found) < len(ports)
        if strange or (
            missing and self._store.known.may_lack_some_of(pod.uid)
        ):
            ports = self._store.look_for(pod)
            found = _choose_ports(pod, requests, ports)
            self._delete_others(pod, found, ports)
        physnets = {one.ifname: one.subnets[0].physnet for one in requests}
        return {
            name: port
            if port.bound
            else self._store.bind(port, physnets[name])
            for name, port in found.items()
        }

    def _delete_others(
        self,
        pod: model.Pod,
        used: Mapping[str, port_body.Port],
        ports: Iterable[port_body.Port] | None = None,
    ) -> None:
        """Delete the ports that the pod does not use: doubles and misfits.

        :param ports: the pod's, as just read; None to read them.
        :raises ProviderRefused: one of them may be in use.
        """
        for port in self._store.look_for(pod) if ports is None else ports:
            chosen = used.get(port.ifname)
            if chosen is not None and chosen.id == port.id:
                continue
            if port.pci_slot:
                raise exceptions.ProviderRefused(
                    f'pod {pod}: {port.ifname} has port {port.id} already, on '
                    f'{port.host} {port.pci_slot}, and that is not what is '
                    'asked for now; recreate the pod'
                )
            self._store.delete_unchanged(port)

    def _make_ports(
        self, pod: model.Pod, requests: Sequence[model.NetworkRequest]
    ) -> dict[str, port_body.Port]:
        if not requests:
            return {}
        try:
            return self._store.make(pod, requests)
        except (neutron.NeutronRefused, neutron.NeutronDenied):
            # it may be because what is remembered is no longer true
            self._lookups.forget(
                net.id for one in requests for net in one.subnets
            )
            raise

    def _to_vif(
        self, port: port_body.Port, request: model.NetworkRequest
    ) -> model.Vif:
        subnets = {net.id: net for net in request.subnets}
        for id, _address in port.fixed_ips:
            # Neutron adds addresses of SLAAC subnets without being asked
            if id not in subnets:
                subnets[id] = self._lookups.subnet(id)
        return port_vif.to_vif(
            port,
            request,
            tuple(subnets.values()),
            self._lookups.rates(port.qos_policy),
            self._defaults.trusted_physnets,
        )

    def _bare_vif(self, port: port_body.Port) -> model.Vif:
        """What the port alone tells of its VIF."""
        subnets = [self._lookups.subnet(id) for id, _ip in port.fixed_ips]
        vif = model.Vif(
            id=port.id,
            ifname=port.ifname,
            network='',
            resource='',
            physnet=subnets[0].physnet if subnets else '',
            mac=port.mac,
            addresses=port_vif.with_prefixes(port, subnets),
        )
        return port_vif.with_settings(vif, port, lookups.Rates())


def _choose_ports(
    pod: model.Pod,
    requests: Sequence[model.NetworkRequest],
    ports: Sequence[port_body.Port],
) -> dict[str, port_body.Port]:
    """For each interface the first port that fits the request."""
    found: dict[str, port_body.Port] = {}
    for one in requests:
        for port in ports:
            if port.ifname == one.ifname and port.fits(pod, one):
                found[one.ifname] = port
                break
    return found
