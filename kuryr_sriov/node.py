# SPDX-License-Identifier: Apache-2.0
"""The node's root: VFs into sandboxes, and back."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from kuryr_sriov import exceptions, model, plugins
from kuryr_sriov.allocations.base import Allocations
from kuryr_sriov.binding import base
from kuryr_sriov.config import loading
from kuryr_sriov.handlers import (
    change_settings,
    choose_vfs,
    configure_vfs,
    guest_ports,
    protocols,
    validate,
    vf_macs,
)
from kuryr_sriov.handlers.events import (
    Event,
    Observer,
    about_attachment,
    ignore_event,
    logging_observer,
    telling,
)
from kuryr_sriov.handlers.pipeline import Pipeline
from kuryr_sriov.handlers.restore import Reconciled, Restorer
from kuryr_sriov.handlers.sandboxes import Sandboxes
from kuryr_sriov.handlers.unreadable import UnreadableRecords
from kuryr_sriov.handlers.wiring import Wiring
from kuryr_sriov.host import ledger, linux, locks, wait


class Node:
    """Attaches VIFs to the VFs of this node. Thread-safe.

    One per process. Several processes may share a ``state_dir``.

    :param conf: from ``load_config``.
    :param host: this node; a simulated one in tests.
    :param allocations: tells which VFs the kubelet gave a pod; by default
        the kubelet is asked, as ``enable_pod_resource_service`` says.
    :param observe: is told each step as it begins and ends.
    :param ask_port: asks the controller for a VIF on the port of that id,
        where ``[sriov] guest_addresses`` is ``provider``.
    :raises ConfigurationError: listing every mistake in kuryr.conf.
    """

    def __init__(
        self,
        conf: Any,
        *,
        host: linux.NodeHost | Any = None,
        allocations: protocols.Allocations | None = None,
        observe: Observer = ignore_event,
        ask_port: guest_ports.Ask = guest_ports.ask_nobody,
    ) -> None:
        loading.validate_config(conf, plugins.list_installed())
        self._conf = conf
        self._host = host or linux.NodeHost(
            is_guest=conf.sriov.node_is_guest or None
        )
        self._observe = logging_observer(observe)
        self._resources = loading.resource_mappings(conf)
        self._bindings: dict[str, base.BindingDriver] = {}
        self._bindings_lock = threading.Lock()
        self._wiring = Wiring(
            self.binding_driver,
            [
                self._load_plugin(plugins.ATTACHMENT_HOOKS, name)
                for name in conf.sriov.attachment_hooks
            ],
            self._observe,
        )
        self._boot_id = self._host.boot_id()
        by_provider = conf.sriov.guest_addresses == 'provider'
        self._ask_port = ask_port if by_provider else None
        self._timeout = conf.sriov.attachment_timeout
        self._unreadable = UnreadableRecords(self._boot_id, self._observe)
        self.ledger = ledger.Ledger(
            conf.sriov.state_dir,
            boot_id=self._boot_id,
            tell=self._unreadable.tell,
        )
        self._locks = locks.PfLocks(
            Path(conf.sriov.state_dir) / 'locks', conf.sriov.pf_lock_timeout
        ).hold
        self._sandboxes = Sandboxes(self._host.links, self._boot_id)
        self._restorer = Restorer(
            self.ledger,
            self._wiring,
            self._sandboxes,
            self._boot_id,
            self._timeout,
            self._observe,
        )
        self._settings_change = change_settings.SettingsChange(
            self.ledger, self._wiring, self._locks, self._observe
        )
        self._offers: Callable[[], Mapping[str, Collection[str]]] = dict
        if allocations is None:
            source = _kubelet_source(conf)
            allocations, self._offers = (
                source.list_devices,
                source.list_offered,
            )
        self._allocations = allocations
        self._pipeline = self._build_pipeline()

    def attach(
        self,
        sandbox: model.Sandbox,
        vifs: Sequence[model.Vif],
        devices: Sequence[model.Device] = (),
        *,
        timeout: float = math.inf,
    ) -> tuple[model.AttachedVif, ...]:
        """Wire all VIFs into the sandbox, or none (CNI ADD).

        Asked again for the same interfaces, it wires them again. Call
        ``announce`` once the answer is given. It takes ``[sriov]
        attachment_timeout`` at most; what a failure has to take back may take
        as long again.

        :param devices: VFs the kubelet allocated, where the host knows
            them (as Multus does); otherwise the kubelet is asked.
        :param timeout: seconds that the host itself has, where that is less.
        :raises InvalidInput: a name, path or VIF cannot be used.
        :raises NotAllocated: the pod has too few VFs.
        :raises UnsupportedSetting: the NIC cannot do what a VIF asks for.
        :raises DeviceBusy: a running sandbox of another pod has the VF.
        """
        request = choose_vfs.AttachRequest(
            sandbox, tuple(vifs), tuple(devices)
        )
        with (
            telling(self._observe, request.event),
            wait.limit(min(self._timeout, timeout)),
        ):
            return tuple(self._pipeline.run(request).attached)

    def announce(self, container_id: str) -> None:
        """Tell the neighbours where the sandbox's addresses are now.

        It waits for carriers, so that it comes after the answer to ADD. The
        pod runs all the same where they cannot be told: that is logged.
        """
        for record in self.ledger.of(container_id):
            driver = self.binding_driver(record.driver)
            event = about_attachment(record, 'announce', 'announce')
            with (
                # The pod runs already; the failure has been reported as an
                # event.
                contextlib.suppress(Exception),
                telling(self._observe, event),
            ):
                driver.announce(record)

    def detach(
        self, container_id: str, ifname: str = '', *, timeout: float = math.inf
    ) -> None:
        """Give the VFs back as they were (CNI DEL), from the ledger alone.

        Nothing on record is success. An error in one does not keep the
        others; the first is raised at the end, and a retry goes on there.
        What no retry would restore stays on record with its reason, and is
        success. It takes ``[sriov] attachment_timeout`` at most.

        :param timeout: seconds that the host itself has, where that is less.
        """
        with (
            self._tell_operation('detach', container_id, ifname),
            wait.limit(min(self._timeout, timeout)),
        ):
            # First: an attach under way finds it, or has its record by now.
            self.ledger.cancel_intents(container_id, ifname)
            self._restorer.restore_all(
                self.ledger.of(container_id, ifname),
                'detach',
                locks=self._locks,
            ).raise_first_failure()

    def change_settings(
        self,
        attachment: model.Attachment,
        vif: model.Vif,
        *,
        timeout: float = math.inf,
    ) -> bool:
        """Have the VF of a running pod follow its VIF, which has changed.

        Rates, spoof check, link state and trust; of all else that is in
        ``vif`` nothing is taken over. The VF holds all of it afterwards, or
        what it held before. It takes ``[sriov] attachment_timeout`` at most.
        Idempotent: call it again for what failed, and for attachments with
        ``pending``, which a kill has left half-way.

        :param attachment: on record.
        :param timeout: seconds that the host itself has, where that is less.
        :return: whether there was anything to change.
        :raises UnsupportedSetting: the NIC cannot do it.
        """
        with wait.limit(min(self._timeout, timeout)):
            return self._settings_change.apply(attachment, vif)

    def check(self, container_id: str, ifname: str = '') -> None:
        """Compare the sandbox's VFs with the ledger (CNI CHECK).

        :raises Drifted: a VF is not as it was attached.
        """
        with self._tell_operation('check', container_id, ifname):
            records = self.ledger.of(container_id, ifname)
            if not records:
                raise exceptions.Drifted(
                    f'nothing is attached to {ifname or "any interface"} of '
                    f'sandbox {container_id}; recreate the pod'
                )
            for record in records:
                self.binding_driver(record.driver).check(record)

    def reconcile(self) -> Reconciled:
        """Give back what a crash, a reboot or a lost DEL left; at start.

        Those are attachments that were not completed, that were made
        before the last boot, whose network namespace is gone, or that owe
        something. Each fails by itself, and so does a record that cannot be
        read.
        """
        with self._tell_operation('reconcile'):
            result = self._restorer.restore_all(
                self.ledger.all(),
                'reconcile',
                unless=self._is_in_use,
                locks=self._locks,
            )
            unreadable = self._unreadable.list_failures(self.ledger)
            return dataclasses.replace(
                result, failed=(*result.failed, *unreadable)
            )

    def collect_garbage(
        self, valid_container_ids: Collection[str]
    ) -> Reconciled:
        """Give back what the runtime no longer knows (CNI GC).

        Each attachment fails by itself.

        :param valid_container_ids: the container ids of
            ``cni.dev/valid-attachments``. Its interface names are those of
            the plugin chain (``eth0``), not those of the pod's VFs.
        :raises InvalidInput: they are anything else.
        """
        validate.check_container_ids(valid_container_ids)
        valid = frozenset(valid_container_ids)
        with self._tell_operation('collect-garbage'):
            return self._restorer.restore_all(
                self.ledger.all(),
                'collect-garbage',
                unless=lambda record: record.sandbox.container_id in valid,
                locks=self._locks,
            )

    def set_aside(self) -> tuple[model.SetAside, ...]:
        """Records that cannot be read, each with the VF that it keeps."""
        return self.ledger.set_aside()

    def attachments(
        self, *, container_id: str = '', pod_uid: str = ''
    ) -> tuple[model.Attachment, ...]:
        """Every attachment on record, also one in the making.

        :param container_id: only those of that sandbox.
        :param pod_uid: only those of that pod.
        """
        if container_id:
            return tuple(
                each
                for each in self.ledger.of(container_id)
                if pod_uid in ('', each.sandbox.pod.uid)
            )
        if pod_uid:
            return self.ledger.of_pod(pod_uid)
        return self.ledger.all()

    def allocated(self, pod: model.Pod) -> tuple[model.Device, ...]:
        """The VFs, and other devices, that the kubelet gave a pod.

        :raises KubeletUnavailable: no answer, or it does not know the pod.
        """
        return tuple(self._allocations(pod))

    def list_offered(self) -> dict[str, frozenset[str]]:
        """PCI addresses of the VFs that are for pods, by resource.

        Those that pods have are among them, and each resource that is
        configured is, though the kubelet offers none of it.

        :return: nothing where this cannot be told, as where a host passes
            its own allocations in.
        :raises KubeletUnavailable: no answer.
        """
        offered = self._offers()
        return {
            resource: frozenset(offered.get(resource, ()))
            for resource in self._resources.configured()
            if offered
        }

    def describe(self, attachment: model.Attachment) -> model.AttachedVif:
        """What ``attach`` returned of an attachment on record."""
        device = self._host.pci.identify(attachment.pci)
        driver = self.binding_driver(attachment.driver)
        return model.AttachedVif(
            vif=attachment.vif,
            location=model.Location(
                node=attachment.sandbox.pod.node or self._conf.sriov.node_name,
                pci_slot=device.pci,
                pci_vendor_info=f'{device.vendor}:{device.device}',
                # not the VIF's own: the controller holds this against it
                physical_network=self._resources.physnet_of(
                    attachment.vif.resource
                ),
            ),
            device_info=driver.device_info(attachment),
            driver=attachment.driver,
        )

    def binding_driver(self, name: str) -> base.BindingDriver:
        """The binding driver of an entry-point name, made when first used.

        :raises PluginError: there is none, or it breaks its contract.
        """
        with self._bindings_lock:
            if name not in self._bindings:
                driver = self._load_plugin(plugins.BINDING_DRIVERS, name)
                if not hasattr(driver.conf, 'device_timeout'):
                    # Its section is its own, and this option is not in it.
                    driver.device_timeout = self._conf.sriov.device_timeout
                self._bindings[name] = driver
            return self._bindings[name]

    def close(self) -> None:
        """Close the ledger."""
        self.ledger.close()

    def __enter__(self) -> Node:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _is_in_use(self, record: model.Attachment) -> bool:
        return (
            record.done
            and not record.owed
            and self._sandboxes.is_there(record)
        )

    def _tell_operation(
        self, operation: str, container_id: str = '', ifname: str = ''
    ) -> AbstractContextManager[None]:
        """Tell the beginning and the end of a whole call."""
        return telling(
            self._observe,
            Event(
                operation,
                'started',
                operation,
                container_id=container_id,
                ifname=ifname,
            ),
        )

    def _build_pipeline(self) -> Pipeline[choose_vfs.AttachRequest]:
        pci = self._host.pci
        inner = Pipeline(
            'under-lock',
            (
                configure_vfs.Reclaim(
                    self.ledger, self._restorer, self._sandboxes
                ),
                configure_vfs.Record(
                    self.ledger,
                    self._wiring,
                    self._resources.driver_of,
                    self._boot_id,
                ),
                configure_vfs.Wire(self._wiring, self._restorer),
                configure_vfs.Report(self.describe),
                configure_vfs.Confirm(self.ledger),
            ),
            self._observe,
            self._timeout,
        )
        return Pipeline(
            'attach',
            (
                choose_vfs.Validate(self._sandboxes),
                choose_vfs.Intend(self.ledger),
                choose_vfs.Allocate(self.allocated),
                self._identify_ports(),
                choose_vfs.Pair(self.ledger),
                guest_ports.CompleteVifs(
                    self.ledger,
                    lambda vf: not pci.identify(vf).pf,
                    self._ask_port,
                ),
                configure_vfs.Configure(
                    inner, self._locks, pci, self.ledger, self._observe
                ),
            ),
            self._observe,
            self._timeout,
        )

    def _identify_ports(self) -> guest_ports.IdentifyPorts:
        own = self._conf.sriov
        macs = vf_macs.VfMacs(
            self._host,
            self.ledger,
            self._boot_id,
            vf_macs.read_macs(own.guest_macs),
            own.device_timeout,
        )
        return guest_ports.IdentifyPorts(
            self.ledger, self._list_guest_ports, macs.find
        )

    def _list_guest_ports(self) -> Sequence[model.GuestPort]:
        # Only a virtual machine needs it, and it is a tenth of all that
        # importing this module costs.
        from kuryr_sriov.host import instance_metadata

        own = self._conf.sriov
        return instance_metadata.InstanceMetadata(
            own.instance_metadata, own.metadata_timeout
        ).list_ports()

    def _load_plugin(self, kind: plugins.Kind, name: str) -> Any:
        plugin = plugins.load_plugin(kind, name)
        section = loading.read_section(self._conf, plugin)
        return plugin(name, self._host, section)


def _kubelet_source(conf: Any) -> Allocations:
    """The source of allocations that the options choose."""
    kind = plugins.ALLOCATIONS
    (name,) = kind.chosen_by(conf.sriov[kind.option])
    plugin = plugins.load_plugin(kind, name)
    source: Allocations = plugin(loading.read_section(conf, plugin))
    return source
