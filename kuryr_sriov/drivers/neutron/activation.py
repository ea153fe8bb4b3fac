# SPDX-License-Identifier: Apache-2.0
"""Where a port's VF is: verified, claimed, and written to Neutron.

Neutron would take anything: a port of a VM, the physnet of another network,
a VF that another port has, and a host to which it then moves the port.
"""

from __future__ import annotations

import time

from kuryr_sriov import exceptions, model
from kuryr_sriov.clients import neutron
from kuryr_sriov.drivers.neutron import (
    lookups,
    port_body,
    port_request,
    port_store,
    port_vif,
)

POLL = 0.3
"""Seconds between two looks at a port that is to become ACTIVE."""


class Activation:
    """Writes ``binding:profile``. Thread-safe."""

    def __init__(
        self,
        client: neutron.NeutronClient,
        store: port_store.PortStore,
        looked_up: lookups.Lookups,
        defaults: port_body.Defaults,
    ) -> None:
        self._client = client
        self._store = store
        self._lookups = looked_up
        self._defaults = defaults

    def activate(
        self, pod: model.Pod, vif: model.Vif, location: model.Location
    ) -> model.Vif:
        """The VIF as it is then; see ``NeutronVIFDriver.activate_vif``."""
        self._verify_report(pod, vif, location)
        self._claim_vf(vif, location)
        profile = port_request.binding_profile(location, vif.trust is True)
        try:
            answer = self._client.update_port(
                vif.id, {'binding:profile': profile}
            )
        except (neutron.NeutronRefused, neutron.NeutronDenied) as error:
            self._store.known.unclaim(vif.id)
            # Somebody has deleted the port; the pod has to be recreated.
            if error.status == 404:
                self._store.known.drop(vif.id)
            subject = f'port {vif.id} of {vif.network}'
            raise port_store.explain_error(error, subject) from error
        port = port_body.parse_port(answer)
        self._store.known.put(port)
        # A change makes Neutron bind again, and that it failed is told nowhere
        # but here.
        if not port.bound or port.host != location.node:
            raise self._store.not_bound(port, vif.physnet, location.node)
        policy = vif.policy or model.Policy()
        port = self._wait_active(port, policy.active_timeout or 0.0)
        rates = self._lookups.rates(port.qos_policy)
        return port_vif.with_settings(vif, port, rates)

    def _verify_report(
        self, pod: model.Pod, vif: model.Vif, location: model.Location
    ) -> None:
        """Refuse a report that does not fit what was promised.

        A port that is not known is read: it may be one that the controller
        made that led before.
        """
        physnet = location.physical_network
        if vif.physnet and physnet != vif.physnet:
            raise exceptions.ProviderRefused(
                f'port {vif.id} of {vif.network} is on physnet {vif.physnet}, '
                f'but VF {location.pci_slot} of {location.node} is on '
                f'{physnet}: check [sriov] physnet_resource_mappings'
            )
        port = self._store.known.get(vif.id) or self._store.reread(vif.id)
        if port is None:
            raise exceptions.ProviderRefused(
                f'port {vif.id} of {vif.network} is gone (PortNotFound); '
                f'recreate pod {pod}'
            )
        if not port.is_of(self._defaults) or port.pod_uid != pod.uid:
            raise exceptions.ProviderRefused(
                f'port {vif.id}, which node {location.node!r} reports for pod '
                f'{pod} (uid {pod.uid}), is not one that was made for that '
                f'pod in cluster {self._defaults.cluster!r}: it is left alone'
            )
        for host in (port.host, pod.node):
            # a host of this library may know the pod without its node
            if host and host != location.node:
                raise exceptions.ProviderRefused(
                    f'port {vif.id} of {vif.network} is bound to host '
                    f'{host!r}, but its VF is on {location.node!r}'
                )

    def _claim_vf(self, vif: model.Vif, location: model.Location) -> None:
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
            time.sleep(POLL)
            port = port_body.parse_port(
                self._client.get('ports', 'port', port.id)
            )
            self._store.known.put(port)
        return port
