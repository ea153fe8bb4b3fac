# SPDX-License-Identifier: Apache-2.0
"""The node's root: VFs into sandboxes, and back."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from kuryr_sriov import exceptions, model, plugins
from kuryr_sriov.binding import base
from kuryr_sriov.config import loading
from kuryr_sriov.handlers import attach as steps
from kuryr_sriov.handlers import protocols
from kuryr_sriov.handlers.hooked import Stepped
from kuryr_sriov.handlers.hooks import NodeStep
from kuryr_sriov.handlers.pipeline import Observer, Pipeline, ignore
from kuryr_sriov.handlers.restore import Restorer
from kuryr_sriov.host import ledger, linux, locks


class Node:
    """Attaches VIFs to the VFs of this node. Thread-safe.

    One per process. Several processes may share a ``state_dir``.

    :param conf: from ``load_config``.
    :param host: this node; a simulated one in tests.
    :param allocations: tells which VFs the kubelet gave a pod; by default
        the kubelet is asked, as ``enable_pod_resource_service`` says.
    :param observe: is told the name of each step before it runs.
    :raises ConfigurationError: listing every mistake in kuryr.conf.
    """

    def __init__(
        self,
        conf: Any,
        *,
        host: linux.NodeHost | Any = None,
        allocations: protocols.Allocations | None = None,
        observe: Observer = ignore,
    ) -> None:
        loading.validate_config(conf, plugins.installed())
        self._conf = conf
        self._host = host or linux.NodeHost()
        self._observe = observe
        self._resources = loading.resource_mappings(conf)
        self._steps: tuple[NodeStep, ...] = tuple(
            self._load(plugins.NODE_STEPS, name, NodeStep)
            for name in conf.sriov.node_steps
        )
        self._bindings: dict[str, base.BindingDriver] = {}
        self._bindings_lock = threading.Lock()
        state = Path(conf.sriov.state_dir)
        self.ledger = ledger.Ledger(state / 'ledger.sqlite')
        self._locks = locks.PfLocks(
            state / 'locks', conf.sriov.pf_lock_timeout
        ).hold
        self._restorer = Restorer(
            self.ledger, self._binding, self._host.boot_id(), observe
        )
        self._pipeline = self._build(
            allocations or _allocations(conf), observe
        )

    def attach(
        self,
        sandbox: model.Sandbox,
        vifs: Sequence[model.Vif],
        devices: Sequence[model.Device] = (),
    ) -> tuple[model.Attached, ...]:
        """Wire all VIFs into the sandbox, or none (CNI ADD).

        Asked again for the same interfaces, it wires them anew.

        :param devices: VFs the kubelet allocated, where the host knows
            them (as Multus does); otherwise the kubelet is asked.
        :raises NotAllocated: the pod has too few VFs.
        :raises UnsupportedSetting: the NIC cannot do what a VIF asks for.
        :raises DeviceBusy: a running sandbox of another pod has the VF.
        """
        value = steps.Attach(sandbox, tuple(vifs), tuple(devices))
        return tuple(self._pipeline.run(value).attached)

    def detach(self, container_id: str, ifname: str = '') -> None:
        """Give the VFs back as they were (CNI DEL), from the ledger alone.

        Nothing on record is success. An error in one does not keep the
        others; the first is raised at the end, and a retry goes on there.
        """
        records = self.ledger.of(container_id, ifname)
        self._restorer.restore_all(records, locks=self._locks)

    def check(self, container_id: str, ifname: str = '') -> None:
        """Compare the sandbox's VFs with the ledger (CNI CHECK).

        :raises Drifted: a VF is not as it was attached.
        """
        records = self.ledger.of(container_id, ifname)
        if not records:
            raise exceptions.Drifted(
                f'nothing is attached to {ifname or "any interface"} of '
                f'sandbox {container_id}; delete the pod to have it made anew'
            )
        for record in records:
            self._binding(record.driver).check(record)

    def reconcile(self) -> list[model.Attachment]:
        """Give back what a crash, a reboot or a lost DEL left; at start.

        Those are attachments that were not completed, that were made
        before the last boot, or whose network namespace is gone.

        :return: what was given back.
        """
        return self._restorer.restore_all(
            self.ledger.all(), unless=self._lives, locks=self._locks
        )

    def collect_garbage(
        self, valid: Collection[tuple[str, str]]
    ) -> list[model.Attachment]:
        """Give back what the runtime does not know any more (CNI GC).

        :param valid: ``cni.dev/valid-attachments`` as (container id,
            interface name).
        :return: what was given back.
        """
        return self._restorer.restore_all(
            self.ledger.all(),
            unless=lambda record: record.key in valid,
            locks=self._locks,
        )

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

    def _lives(self, record: model.Attachment) -> bool:
        return (
            record.done
            and record.boot_id == self._host.boot_id()
            and self._host.links.alive(record.sandbox.netns)
        )

    def _build(
        self, allocations: protocols.Allocations, observe: Observer
    ) -> Pipeline[steps.Attach]:
        pci, links = self._host.pci, self._host.links
        inner = Pipeline(
            'attach',
            (
                steps.Settle(self.ledger, self._restorer, links),
                steps.Record(
                    self.ledger,
                    self._binding,
                    self._resources.driver,
                    pci,
                    self._host.boot_id(),
                ),
                steps.Connect(self._binding, self._restorer),
                steps.Report(self._binding, pci, self._conf.sriov.node_name),
                steps.Confirm(self.ledger),
            ),
            observe,
        )
        return Pipeline(
            'add',
            (
                steps.Allocate(allocations),
                steps.Pair(self.ledger),
                steps.Locked(inner, self._locks, pci, self.ledger),
                steps.Announce(self._binding),
            ),
            observe,
        )

    def _binding(self, name: str) -> base.BindingDriver:
        with self._bindings_lock:
            if name not in self._bindings:
                driver = self._load(
                    plugins.BINDING_DRIVERS, name, base.BindingDriver
                )
                self._bindings[name] = Stepped(
                    driver, self._steps, self._observe
                )
            return self._bindings[name]

    def _load(self, group: str, name: str, contract: Any) -> Any:
        plugin = plugins.load(group, name, contract)
        section = loading.read_section(self._conf, plugin)
        return plugin(name, self._host, section)


def _allocations(conf: Any) -> protocols.Allocations:
    """The kubelet, by its PodResources service or its checkpoint file."""
    if conf.sriov.enable_pod_resource_service:
        from kuryr_sriov.allocations import podresources

        return podresources.PodResources(
            conf.sriov.kubelet_root_dir, conf.sriov.kubelet_timeout
        ).devices
    from kuryr_sriov.allocations import checkpoint

    return checkpoint.Checkpoint(conf.sriov.kubelet_root_dir).devices
