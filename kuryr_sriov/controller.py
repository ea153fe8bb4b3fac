# SPDX-License-Identifier: Apache-2.0
"""The controller's root: from pods to VIFs, and back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kuryr_sriov import exceptions, model, plugins
from kuryr_sriov.clients.turns import KeyedLocks
from kuryr_sriov.config import loading
from kuryr_sriov.drivers import base
from kuryr_sriov.handlers import (
    guest_ports,
    orphans,
    request,
    request_memory,
)
from kuryr_sriov.handlers.events import (
    PROVIDER,
    Event,
    Observer,
    Phase,
    ignore_event,
    logging_observer,
    telling,
)
from kuryr_sriov.handlers.pipeline import Pipeline
from kuryr_sriov.handlers.vif_drivers import VifDrivers
from kuryr_sriov.npwg import requests


class Controller:
    """Obtains VIFs for pods. Thread-safe; any number of pods at a time.

    Of several processes for one cluster, one may lead at a time.

    :param conf: from ``load_config``.
    :param get_nad: returns a NetworkAttachmentDefinition object.
    :param publish: hands a pod's VIFs to its node; nothing if it is to have
        none any more.
    :param cluster_uid: uid of the namespace ``kube-system``: it tells this
        cluster's ports from those of others that share the provider.
    :param observe: is told each step as it begins and ends.
    :raises ConfigurationError: listing every mistake in kuryr.conf.
    """

    def __init__(
        self,
        conf: Any,
        get_nad: request.GetNad,
        publish: request.Publish,
        *,
        cluster_uid: str = '',
        observe: Observer = ignore_event,
    ) -> None:
        loading.validate_config(conf, plugins.list_installed())
        subnet_driver = plugins.load_plugin(
            plugins.SUBNET_DRIVERS, conf.sriov.subnet_driver
        )

        def make_vif_driver(name: str) -> base.PodVIFDriver:
            plugin = plugins.load_plugin(plugins.VIF_DRIVERS, name)
            driver: base.PodVIFDriver = plugin(
                loading.read_section(conf, plugin), cluster_uid
            )
            driver.tell_calls(self._tell_provider_call)
            return driver

        self._observe = logging_observer(observe)
        self._drivers = VifDrivers(
            make_vif_driver,
            conf.sriov.vif_driver,
            conf.sriov.node_vif_drivers,
        )
        self.vifs = self._drivers.default
        subnets = subnet_driver(
            loading.read_section(conf, subnet_driver),
            self.vifs.describe_subnet,
        )
        self._memory = request_memory.RequestMemory()
        self._pods = KeyedLocks()
        self._orphans = [
            orphans.OrphanCollector(
                driver, conf.sriov.orphan_grace, conf.sriov.orphan_limit
            )
            for driver in self._drivers.all
        ]
        isolation = request.Isolation(
            conf.sriov.namespace_isolation, conf.sriov.global_namespaces
        )
        resources = loading.resource_mappings(conf)
        self._pipeline = Pipeline(
            'request',
            (
                request.ReadNetworks(get_nad, isolation, resources.prefix),
                request.FindSubnets(subnets, resources.resource_of),
                request.CheckRequests(),
                request.RequestVifs(
                    self._drivers.of_node, self._memory.is_released
                ),
                request.PublishVifs(publish),
            ),
            self._observe,
        )

    def _tell_provider_call(
        self, what: str, seconds: float, error: BaseException | None
    ) -> None:
        phase: Phase = 'failed' if error else 'done'
        self._observe(
            Event(what, phase, PROVIDER, seconds=seconds, error=error)
        )

    def gain_leadership(self) -> None:
        """Trust nothing that was known: another process may have led.

        Call it when this process begins to lead, before anything else. It
        makes no request.
        """
        self._memory.clear()
        for driver in self._drivers.all:
            driver.forget_all()

    def request(self, body: Mapping[str, Any]) -> tuple[model.Vif, ...]:
        """Obtain and publish the VIFs of a scheduled pod.

        Idempotent: safe to repeat for every event of the pod. If nothing
        has changed that it depends on, nothing is called at all.

        :param body: the pod, as the Kubernetes API has it.
        :return: its VIFs, in the order of the annotation; none where no
            network of the pod is ours, where the pod cannot have any
            (``wants_vifs``), and after it was released.
        :raises InvalidAnnotation: the annotation, or a NAD it names.
        :raises NotAllocated: it asks its node for too few VFs.
        """
        pod = requests.pod_of(body)
        with self._pods.hold(pod.uid):
            last = self._memory.find(pod.uid)
            had = last is not None and bool(last.vifs)
            if (
                self._memory.is_released(pod.uid)
                or not requests.can_have_vifs(body)
                or not (had or requests.wants_networks(body))
            ):
                return ()
            digest = request_memory.digest_of(body)
            if last is not None and last.digest == digest:
                return last.vifs
            value = request.Request(body, pod, had=had)
            with telling(self._observe, value.event):
                vifs = tuple(self._pipeline.run(value).vifs)
            if not self._memory.is_released(pod.uid):
                # A uid never comes back: of a released pod nothing is kept.
                answered = request_memory.Answered(digest, vifs)
                self._memory.remember(pod.uid, answered)
            return vifs

    def forget(self, pod_uid: str) -> None:
        """Let the next request of a pod do everything again.

        For a host that has lost what was published.
        """
        self._memory.forget(pod_uid)

    def complete(self, vif: model.Vif, port_id: str) -> model.Vif:
        """A VIF of a node that is a VM, on the port that the node has found.

        As the network provider has that port now; nothing is written.

        :raises ProviderRefused: there is no such port, or it is on another
            network than was promised.
        """
        port = self.vifs.describe_port(port_id)
        if port.network != vif.provider_network:
            raise exceptions.ProviderRefused(
                f'{vif.ifname} ({vif.network}) was promised network '
                f'{vif.provider_network}, but port {port_id} is on network '
                f'{port.network}; give the VFs of each network a resource of '
                'their own'
            )
        return guest_ports.complete(vif, port)

    def activate(
        self,
        pod: model.Pod,
        vif: model.Vif,
        location: model.Location,
        *,
        wait: bool = True,
    ) -> model.Vif:
        """Tell the provider where a VIF's VF is, as the node reported.

        :param pod: whose VIF it is said to be; that is verified.
        :param wait: for its traffic to flow, where its policy or kuryr.conf
            gives a time for that; False for a host that calls
            ``find_active`` by itself.
        :raises ProviderRefused: what is reported does not fit the VIF.
        """
        event = Event(
            'activate',
            'started',
            'activate',
            pod=pod,
            ifname=vif.ifname,
            pci=location.pci_slot,
            vif_id=vif.id,
        )
        with telling(self._observe, event):
            driver = self._drivers.of_node(pod.node)
            told = vif
            if vif.policy is not None and not wait:
                policy = replace(vif.policy, active_timeout=None)
                told = replace(vif, policy=policy)
            active = driver.activate_vif(pod, told, location)
            active = replace(active, policy=vif.policy)
        self._memory.update_vif(pod.uid, active)
        return active

    def release(self, pod: model.Pod) -> None:
        """Give back all VIFs of a pod that has ended or is gone. Idempotent.

        A request of that pod that is under way ends first, and none follows.
        """
        self._memory.note_release(pod.uid)
        event = Event('release', 'started', 'release', pod=pod)
        with self._pods.hold(pod.uid), telling(self._observe, event):
            self._memory.forget(pod.uid)
            # All of them: the node's driver may have been another when the
            # pod was made.
            for driver in self._drivers.all:
                driver.release_vifs(pod)

    def list_vifs(self) -> tuple[model.OwnedVif, ...]:
        """All VIFs that were made for this cluster and are not released."""
        return tuple(
            owned
            for driver in self._drivers.all
            for owned in driver.list_vifs()
        )

    def refresh_vifs(self, vifs: Sequence[model.Vif]) -> tuple[model.Vif, ...]:
        """Those of the VIFs whose provider tells, as it has them now.

        For a host that publishes what has changed, so that the pod's node
        can have the VF follow (``Node.change_settings``), or that tells
        whoever runs the pod.
        """
        return tuple(
            vif
            for driver in self._drivers.all
            for vif in driver.refresh_vifs(vifs)
        )

    def find_active(self, vif_ids: Collection[str]) -> frozenset[str]:
        """Ids of those of the VIFs whose traffic flows, says the provider."""
        return frozenset(
            vif_id
            for driver in self._drivers.all
            for vif_id in driver.find_active(vif_ids)
        )

    def collect_orphans(self, is_there: orphans.IsThere) -> tuple[str, ...]:
        """Give back VIFs of pods that are gone; return their ids.

        :param is_there: asks the API server whether it has the pod of that
            namespace, name and uid.
        :raises OrphansRefused: so many seem to be gone that it is in doubt.
        """
        return tuple(
            vif_id
            for orphans_of_one in self._orphans
            for vif_id in orphans_of_one.collect(is_there)
        )
