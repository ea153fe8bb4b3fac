# SPDX-License-Identifier: Apache-2.0
"""The ports in Neutron and what this process knows of them, kept in step."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from kuryr_sriov import exceptions, model
from kuryr_sriov.clients import neutron
from kuryr_sriov.drivers.neutron import port_body
from kuryr_sriov.drivers.neutron.port_cache import KnownPorts

LOG = logging.getLogger(__name__)

_BULK_TAGS = 'tag-ports-during-bulk-creation'


class PortStore:
    """Makes, finds and deletes ports. Thread-safe for different pods."""

    def __init__(
        self, client: neutron.NeutronClient, defaults: port_body.Defaults
    ) -> None:
        self._client = client
        self._defaults = defaults
        self._loading = threading.Lock()
        self._tags_at_create: bool | None = None
        self.known = KnownPorts()

    def load(self) -> None:
        """Learn what earlier processes have made; once, in one request.

        Not by the cluster's tag, so that a cluster that was given another
        name does not make its ports twice.
        """
        if not self.known.loaded:
            with self._loading:
                if not self.known.loaded:
                    self.known.load(self._find({})[0])

    def of(
        self, pod: model.Pod, *, certain: bool = False
    ) -> list[port_body.Port]:
        """The pod's ports, the one to use first; no request if none is due.

        :param certain: ask Neutron if no port is known.
        """
        found = self.known.of(pod.uid)
        if self.known.in_doubt(pod.uid) or (certain and not found):
            self.known.replace(pod.uid, self._find({'device_id': pod.uid})[0])
            found = self.known.of(pod.uid)
        return list(found)

    def make(
        self, pod: model.Pod, requests: Sequence[model.NetworkRequest]
    ) -> dict[str, port_body.Port]:
        """A new, bound port for each request, by interface name.

        Nothing is left in Neutron if that fails.
        """
        bodies = [
            port_body.to_create(pod, one, self._defaults) for one in requests
        ]
        try:
            answers = self._client.create_ports(bodies)
        except exceptions.ProviderUnavailable as error:
            self.known.doubt(pod.uid)
            raise explained(error, f'pod {pod}') from error
        except exceptions.KuryrSriovError as error:
            raise explained(error, _blame(error, pod, requests)) from error
        made = [port_body.parse(answer) for answer in answers]
        for port in made:
            self.known.put(port)
        try:
            self._check(pod, requests, made)
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
                self.delete(port)
            except exceptions.KuryrSriovError as error:
                self.known.doubt(port.pod_uid)
                LOG.warning('port %s stays for now: %s', port.id, error)

    def delete(self, port: port_body.Port) -> None:
        """Delete the port; it may be gone already."""
        self._client.delete_port(port.id)
        self.known.drop(port.id)

    def drop_doubles(
        self, pod: model.Pod, used: Iterable[port_body.Port]
    ) -> None:
        """Delete the pod's other ports for the interfaces of ``used``.

        They come from a request whose answer was lost, and which Neutron
        carried out after it had been asked what there is.
        """
        by_name = {port.ifname: port.id for port in used}
        listed, _now = self._find({'device_id': pod.uid})
        self.known.replace(pod.uid, listed)
        self.undo(
            port
            for port in listed
            if by_name.get(port.ifname, port.id) != port.id
            and not port.pci_slot
        )

    def reread(self, id: str) -> None:
        """Know the port as Neutron has it now."""
        try:
            answer = self._client.get('ports', 'port', id)
        except neutron.NeutronRefused as error:
            if error.status != 404:
                raise
            self.known.drop(id)
        else:
            self.known.drop(id)
            self.known.put(port_body.parse(answer))

    def of_cluster(self) -> tuple[list[port_body.Port], datetime]:
        """This cluster's ports, and what time it is by Neutron's clock."""
        if self._tags_at_create is None:
            self._tags_at_create = self._client.has_extension(_BULK_TAGS)
        if self._tags_at_create and self._defaults.cluster:
            return self._find({'tags': self._defaults.cluster_tag})
        # tags that are set after the port was made may be missing
        return self._find({'description': self._defaults.description})

    def _find(
        self, filters: Mapping[str, str]
    ) -> tuple[list[port_body.Port], datetime]:
        listed, now = self._client.list_ports(
            {'device_owner': port_body.DEVICE_OWNER, **filters}
        )
        return [port_body.parse(port) for port in listed], now

    def _check(
        self,
        pod: model.Pod,
        requests: Sequence[model.NetworkRequest],
        made: Sequence[port_body.Port],
    ) -> None:
        wanted = set(self._defaults.all_tags)
        physnets = {one.ifname: one.subnets[0].physnet for one in requests}
        for port in made:
            if not port.bound:
                raise not_bound(port, physnets[port.ifname], pod.node)
            if not wanted <= (port.tags or set()):
                self._client.set_tags(port.id, self._defaults.all_tags)


def explained(
    error: exceptions.KuryrSriovError, subject: str
) -> exceptions.KuryrSriovError:
    """The same error, saying what it is about."""
    text = f'{subject}: {error}'
    if isinstance(error, exceptions.TransientError):
        return type(error)(text, error.retry_after)
    if isinstance(error, neutron.NeutronRefused):
        return type(error)(text, error.type, error.status)
    return error


def not_bound(
    port: port_body.Port, physnet: str, node: str
) -> exceptions.ProviderUnavailable:
    """Neutron found no agent to take the port, which it does not say."""
    physnet = physnet or 'of its network'
    return exceptions.ProviderUnavailable(
        f'port {port.id}, {port.ifname}: Neutron cannot bind it to host '
        f'{node!r} on physnet {physnet} (vif_type '
        f'{port.vif_type or "unknown"}): check that the SR-IOV agent of that '
        'host is alive, under that very name, and has the physnet in its '
        'physical_device_mappings',
        retry_after=30.0,
    )


def _blame(
    error: exceptions.KuryrSriovError,
    pod: model.Pod,
    requests: Sequence[model.NetworkRequest],
) -> str:
    """The pod, and those of its networks that the error speaks of."""
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
