# SPDX-License-Identifier: Apache-2.0
"""The ports in Neutron and what this process knows of them, kept in step."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from kuryr_sriov import exceptions, model
from kuryr_sriov.clients import neutron
from kuryr_sriov.clients.turns import SharedCalls
from kuryr_sriov.drivers.neutron import (
    host_names,
    port_body,
    port_request,
)
from kuryr_sriov.drivers.neutron.port_cache import KnownPorts

LOG = logging.getLogger(__name__)


class PortStore:
    """Makes, finds and deletes ports. Thread-safe for different pods."""

    def __init__(
        self, client: neutron.NeutronClient, defaults: port_body.Defaults
    ) -> None:
        self._client = client
        self._defaults = defaults
        self._loading: SharedCalls[None] = SharedCalls()
        self.known = KnownPorts()

    def load(self) -> None:
        """Learn what earlier processes have made for this cluster.

        Once, in one request (a page each for many ports). Ports that were
        made before the cluster had its present name are found by their pod.
        """
        if not self.known.loaded:
            self._loading.share('', self._load_ports)

    def _load_ports(self) -> None:
        if not self.known.loaded:
            self.known.load(self.of_cluster()[0])

    def of(self, pod: model.Pod) -> list[port_body.Port]:
        """The pod's ports, the one to use first; asks only if it has to."""
        if self.known.lost_track_of(pod.uid):
            return self.look_for(pod)
        return list(self.known.of(pod.uid))

    def look_for(self, pod: model.Pod) -> list[port_body.Port]:
        """The pod's ports as Neutron has them now, the one to use first."""
        listed, _now = self._find_ports({'device_id': pod.uid})
        self.known.replace(pod.uid, listed)
        return list(self.known.of(pod.uid))

    def make(
        self, pod: model.Pod, requests: Sequence[model.NetworkRequest]
    ) -> dict[str, port_body.Port]:
        """A new, bound port for each request, by interface name.

        Nothing is left in Neutron if that fails.
        """
        bodies = [
            port_request.to_create(pod, one, self._defaults)
            for one in requests
        ]
        try:
            made = [
                port_body.parse_port(answer)
                for answer in self._client.create_ports(bodies)
            ]
        except (neutron.NeutronRefused, neutron.NeutronDenied) as error:
            raise explain_error(
                error, _name_guilty(error, pod, requests)
            ) from error
        except exceptions.KuryrSriovError as error:
            if not isinstance(error, exceptions.ProviderExhausted):
                # no answer, or none that can be read: it may be done
                self.known.doubt(pod.uid)
            raise explain_error(
                error, _name_guilty(error, pod, requests)
            ) from error
        for port in made:
            self.known.put(port)
        try:
            self._check_made(pod, requests, made)
        except Exception:
            self.undo(made)
            raise
        return {port.ifname: port for port in made}

    def undo(self, made: Iterable[port_body.Port]) -> None:
        """Delete ports of a request that failed; never raises.

        What cannot be deleted now is found again when the pod is asked for
        or released, and else collected as an orphan.
        """
        for port in made:
            try:
                # as it is now: a deletion that arrives late must not meet a
                # port that was found again and is in use by then
                left = self.reread(port.id)
                if left is not None and not left.pci_slot:
                    self.delete_unchanged(left)
            except exceptions.KuryrSriovError as error:
                self.known.doubt(port.pod_uid)
                LOG.warning('port %s stays for now: %s', port.id, error)

    def delete(self, port: port_body.Port) -> None:
        """Delete the port; it may be gone already."""
        self._client.delete_port(port.id)
        self.known.drop(port.id)

    def delete_unchanged(self, port: port_body.Port) -> None:
        """Delete the port only if nobody has changed it since it was read.

        :raises ProviderUnavailable: somebody has, such as the controller
            that led before, which gave it a VF.
        """
        try:
            self._client.delete_port(port.id, port.revision)
        except exceptions.ProviderUnavailable:
            self.known.doubt(port.pod_uid)
            raise
        self.known.drop(port.id)

    def bind(self, port: port_body.Port, physnet: str) -> port_body.Port:
        """The port, bound to its host; it was not when it was read last.

        Neutron binds by itself only when a port is changed: after an outage
        of the agent it stays unbound until somebody does.

        :raises ProviderUnavailable: Neutron still cannot bind it.
        """
        port = self.reread(port.id) or port
        if not port.bound:
            answer = self._client.update_port(
                port.id, {'binding:host_id': port.host}
            )
            port = port_body.parse_port(answer)
            self.known.put(port)
        if not port.bound:
            raise self.not_bound(port, physnet, port.host)
        return port

    def not_bound(
        self, port: port_body.Port, physnet: str, host: str
    ) -> exceptions.ProviderUnavailable:
        """The error for a port that no agent took; Neutron does not say so.

        It names the agents that there are, for a user who may see them.
        """
        hosts: frozenset[str] = frozenset()
        with contextlib.suppress(exceptions.KuryrSriovError):
            hosts = frozenset(self._client.list_agents())
        known = (
            f'; {host_names.suggest(host, hosts)}: see [neutron] '
            'host_template and node_hosts'
            if hosts and host not in hosts
            else ''
        )
        return exceptions.ProviderUnavailable(
            f'port {port.id}, {port.ifname}: Neutron cannot bind it to host '
            f'{host!r} on physnet {physnet or "of its network"} (vif_type '
            f'{port.vif_type or "unknown"}): check that the SR-IOV agent of '
            'that host is alive, under that very name, and has the physnet in '
            f'its physical_device_mappings{known}',
            retry_after=30.0,
        )

    def reread(self, id: str) -> port_body.Port | None:
        """The port as Neutron has it now; None where it is gone."""
        try:
            answer = self._client.get('ports', 'port', id)
        except neutron.NeutronRefused as error:
            if error.status != 404:
                raise
            self.known.drop(id)
            return None
        port = port_body.parse_port(answer)
        if port.is_of(self._defaults):
            self.known.put(port)
        return port

    def of_cluster(self) -> tuple[list[port_body.Port], datetime]:
        """This cluster's ports, and what time it is by Neutron's clock."""
        return self._find_ports({'description': self._defaults.description})

    def _find_ports(
        self, filters: Mapping[str, str]
    ) -> tuple[list[port_body.Port], datetime]:
        listed, now = self._client.list_ports(
            {'device_owner': port_body.DEVICE_OWNER, **filters}
        )
        return [port_body.parse_port(port) for port in listed], now

    def _check_made(
        self,
        pod: model.Pod,
        requests: Sequence[model.NetworkRequest],
        made: Sequence[port_body.Port],
    ) -> None:
        wanted = set(self._defaults.all_tags)
        physnets = {one.ifname: one.subnets[0].physnet for one in requests}
        for port in made:
            if not port.bound:
                raise self.not_bound(
                    port, physnets.get(port.ifname, ''), pod.node
                )
            # Releases without the extension tag-ports-during-bulk-creation
            # ignore the tags of ports that are made in bulk, and all of them
            # let a member tag those of its own project only.
            ours = pod.namespace not in self._defaults.namespace_projects
            if ours and not wanted <= (port.tags or set()):
                self._client.set_tags(port.id, self._defaults.all_tags)


def explain_error(
    error: exceptions.KuryrSriovError, subject: str
) -> exceptions.KuryrSriovError:
    """The same error, saying what it is about."""
    text = f'{subject}: {error}'
    if isinstance(error, neutron.NeutronRefused | neutron.NeutronDenied):
        return type(error)(text, error.type, error.status)
    if isinstance(error, exceptions.TransientError):
        return type(error)(text, error.retry_after)
    return error


def _name_guilty(
    error: exceptions.KuryrSriovError,
    pod: model.Pod,
    requests: Sequence[model.NetworkRequest],
) -> str:
    """The pod, and those of its networks that the error speaks of."""
    if isinstance(error, exceptions.ProviderUnavailable):
        return f'pod {pod}'
    text = str(error)
    guilty = [
        one
        for one in requests
        if any(net.id in text or net.network in text for net in one.subnets)
        or any(ip.partition('/')[0] in text for ip in one.ips)
        or (one.mac and one.mac.lower() in text)
    ]
    names = ', '.join(
        f'{one} (subnet {" and ".join(net.id for net in one.subnets)})'
        for one in guilty or requests
    )
    return f'pod {pod}, network {names}'
