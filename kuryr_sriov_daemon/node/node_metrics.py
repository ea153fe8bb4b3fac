# SPDX-License-Identifier: Apache-2.0
"""What a node measures, for Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import GaugeMetricFamily

from kuryr_sriov import Attachment, Event, Node
from kuryr_sriov_daemon.node.upkeep import Upkeep

BUCKETS = 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0, 3.0, 10.0, 30.0, 100.0

VF_LABELS = (
    'pci_address',
    'pf_pci_address',
    'resource',
    'driver',
    'namespace',
    'pod',
    'pod_uid',
    'interface',
    'port',
    'network',
)


class NodeMetrics:
    """Histograms that are fed, and gauges that are looked up when asked.

    :ivar registry: of prometheus_client, with all of them.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._steps = Histogram(
            'kuryr_sriov_node_step_seconds',
            'Steps of attaching and restoring VFs. An operation as a whole is '
            'the step of its own name.',
            ['operation', 'step', 'driver', 'outcome'],
            registry=self.registry,
            buckets=BUCKETS,
        )
        self._requests = Histogram(
            'kuryr_sriov_node_cni_seconds',
            "Requests of the container runtime, by the code of CNI's error "
            'object; 0 for success.',
            ['command', 'code'],
            registry=self.registry,
            buckets=BUCKETS,
        )
        self._node: Node | None = None
        self._upkeep: Upkeep | None = None

    def observe(self, event: Event) -> None:
        """Take in an event of the library."""
        if event.phase in ('done', 'failed', 'undone'):
            error = event.error
            outcome = type(error).__name__ if error else event.phase
            self._steps.labels(
                event.operation, event.step, event.driver, outcome
            ).observe(event.seconds)

    def observe_request(self, command: str, code: int, seconds: float) -> None:
        """Take in how a request of the runtime ended."""
        self._requests.labels(command, str(code)).observe(seconds)

    def follow(self, node: Node, upkeep: Upkeep) -> None:
        """Show what the ledger and the upkeep say whenever asked."""
        self._node, self._upkeep = node, upkeep
        self.registry.register(self)

    def describe(self) -> Iterator[Any]:
        """Nothing beforehand (called by prometheus_client)."""
        return iter(())

    def collect(self) -> Iterator[Any]:
        """The gauges as they are now (called by prometheus_client)."""
        if self._node is None or self._upkeep is None:
            return
        records = self._node.attachments()
        yield GaugeMetricFamily(
            'kuryr_sriov_node_pods_without_vfs',
            'Pods that run without the VFs they were promised.',
            value=float(len(self._upkeep.without_vfs)),
        )
        yield from _vf_counts(self._upkeep, records)
        yield from _attachments(records)


def _vf_counts(upkeep: Upkeep, records: Sequence[Attachment]) -> Iterator[Any]:
    """Gauges by resource: there, free, drifted, owed."""
    offered = upkeep.offered
    resources = {*offered, *(record.vif.resource for record in records)}
    on_record = {record.pci for record in records}
    drifted = Counter(
        each.vif.resource for each in records if each.key in upkeep.drifts
    )
    owed = Counter(
        each.vif.resource
        for each in records
        if each.owed or each.key in upkeep.owed
    )
    changing = Counter(
        each.vif.resource for each in records if each.pending is not None
    )
    # of what is owed by a record that cannot be read no resource is known
    unreadable = len(upkeep.owed.keys() - {record.key for record in records})
    if unreadable:
        owed[''] = unreadable
        resources.add('')
    counts: tuple[tuple[str, str, Mapping[str, int]], ...] = (
        (
            'vfs',
            'VFs that the kubelet offers; none where it does not say.',
            {resource: len(pcis) for resource, pcis in offered.items()},
        ),
        (
            'vfs_free',
            'VFs of those that are on no record of the ledger.',
            {
                resource: len(pcis - on_record)
                for resource, pcis in offered.items()
            },
        ),
        (
            'vfs_drifted',
            'VFs that were not as they were attached at the last check.',
            {resource: drifted[resource] for resource in resources},
        ),
        (
            'vfs_changing',
            'VFs with settings that were changed at the network provider, '
            'and do not have them yet.',
            {resource: changing[resource] for resource in resources},
        ),
        (
            'vfs_owed',
            'VFs that could not be restored so far.',
            {resource: owed[resource] for resource in resources},
        ),
    )
    for name, text, by_resource in counts:
        gauge = GaugeMetricFamily(
            f'kuryr_sriov_node_{name}', text, labels=['resource']
        )
        for resource, count in sorted(by_resource.items()):
            gauge.add_metric([resource], float(count))
        yield gauge


def _attachments(records: Sequence[Attachment]) -> Iterator[Any]:
    counts: Counter[tuple[str, str]] = Counter()
    vfs = GaugeMetricFamily(
        'kuryr_sriov_node_vf_info',
        'Which pod and port has which VF; always 1.',
        labels=VF_LABELS,
    )
    for record in records:
        state = 'attached' if record.done else 'incomplete'
        counts[record.vif.resource, state] += 1
        pod = record.sandbox.pod
        vfs.add_metric(
            [
                record.pci,
                record.pf,
                record.vif.resource,
                record.driver,
                pod.namespace,
                pod.name,
                pod.uid,
                record.vif.ifname,
                record.vif.id,
                record.vif.network,
            ],
            1.0,
        )
    attachments = GaugeMetricFamily(
        'kuryr_sriov_node_attachments',
        'Records of the ledger.',
        labels=['resource', 'state'],
    )
    for labels, count in counts.items():
        attachments.add_metric(labels, float(count))
    yield attachments
    yield vfs
