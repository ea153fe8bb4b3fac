# SPDX-License-Identifier: Apache-2.0
"""What this node knows: the kubelet, the ledger, the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kuryr_sriov import exceptions, model, plugins
from kuryr_sriov.binding.base import BindingDriver
from kuryr_sriov.cmd.pod_story.chapters import Line, Trouble
from kuryr_sriov.cmd.stuck_records import describe_record, why_stuck
from kuryr_sriov.config import loading
from kuryr_sriov.host import ledger_reader
from kuryr_sriov.node import Node

REPAIR = 'See "kuryr-sriov repair".'


class NodeSide:
    """This node's chapters on one pod. Nothing is changed.

    :param pod: as the API server has it, or with an empty uid.
    :ivar records: the ledger's, of this pod; of any pod of that name where
        the uid is not known.
    """

    def __init__(self, host: Any, conf: Any, pod: model.Pod) -> None:
        self._host = host
        self._conf = conf
        self._pod = pod
        self.records: tuple[model.Attachment, ...] = ()

    def read_allocation(self) -> Iterator[Line]:
        """Which devices the kubelet gave the pod."""
        with Node(self._conf, host=self._host) as node:
            devices = node.allocated(self._pod)
        for device in devices:
            yield f'{device.pci} of {device.resource}'
        if not devices:
            yield Trouble(
                'The kubelet gave the pod no device.',
                "Let its containers request the networks' resources.",
            )

    def read_ledger(self) -> Iterator[Line]:
        """What is on record of the pod."""
        self.records = tuple(
            record
            for record in ledger_reader.read_attachments(
                self._conf.sriov.state_dir
            )
            if self._is_ours(record.sandbox.pod)
        )
        for record in self.records:
            yield (
                f'{record.vif.ifname}: VF {record.pci} by {record.driver}, '
                f'sandbox {record.sandbox.container_id[:12]}'
            )
            why = why_stuck(self._host, record)
            if why:
                yield Trouble(f'{describe_record(record)}: {why}.', REPAIR)
        if not self.records:
            yield 'nothing: no VF is attached'

    def _is_ours(self, pod: model.Pod) -> bool:
        if self._pod.uid:
            return pod.uid == self._pod.uid
        names = self._pod.namespace, self._pod.name
        return (pod.namespace, pod.name) == names

    def read_vfs(self) -> Iterator[Line]:
        """The VFs on record as they are now, and how they should be."""
        for record in self.records:
            device = self._host.pci.device(record.pci)
            yield (
                f'{record.pci}: driver {device.driver or "none"}'
                + (f', VF {device.vf_index} of {device.pf}' * bool(device.pf))
                + (
                    f', IOMMU group {device.iommu_group}'
                    * bool(device.iommu_group)
                )
            )
            yield from self._read_link(record)
            if device.pf:
                yield from self._read_pf(device)
            try:
                self._load_driver(record.driver).check(record)
            except exceptions.Drifted as error:
                yield Trouble(str(error))

    def _read_link(self, record: model.Attachment) -> Iterator[Line]:
        netns = record.sandbox.netns
        if not self._host.links.alive(netns):
            return
        link = self._host.links.find(record.pci, netns)
        if link is None:
            yield f'no interface in {netns}'
        else:
            state = 'up' if link.up else 'down'
            carrier = 'with' if link.carrier else 'without'
            yield (
                f'interface {link.name} in {netns}: MAC {link.mac}, MTU '
                f'{link.mtu}, {state}, {carrier} carrier'
            )

    def _read_pf(self, device: model.PciDevice) -> Iterator[Line]:
        pf = self._host.pci.device(device.pf)
        if pf.ifindex and device.vf_index is not None:
            vfs = self._host.links.pf(pf.ifindex).vfs
            held = vfs[device.vf_index] if device.vf_index < len(vfs) else None
            if held is not None:
                yield (
                    f'PF {pf.ifname} holds MAC {held.mac}, VLAN {held.vlan} '
                    'for it'
                )
        if self._host.pci.functions.has_carrier(pf) is False:
            yield Trouble(
                f'PF {pf.pci} ({pf.ifname}) has no link.',
                'See its cable and its switch.',
            )

    def _load_driver(self, name: str) -> BindingDriver:
        plugin = plugins.load_plugin(plugins.BINDING_DRIVERS, name)
        section = loading.read_section(self._conf, plugin)
        driver: BindingDriver = plugin(name, self._host, section)
        return driver
