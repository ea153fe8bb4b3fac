# SPDX-License-Identifier: Apache-2.0
"""What the controller measures, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily

from kuryr_sriov import Event

BUCKETS = 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0


class ControllerMetrics:
    """Counters that are counted, and gauges that are looked up when asked."""

    def __init__(self, registry: Any) -> None:
        self._pod_seconds = Histogram(
            'kuryr_sriov_controller_pod_seconds',
            'Work on one pod, by its outcome: done, or the kind of error.',
            ['outcome'],
            registry=registry,
            buckets=BUCKETS,
        )
        self._step_seconds = Histogram(
            'kuryr_sriov_controller_step_seconds',
            'Steps of the library. Those of the operations request, activate '
            'and release that are called like them are the whole call.',
            ['operation', 'step', 'outcome'],
            registry=registry,
            buckets=BUCKETS,
        )
        self._provider_seconds = Histogram(
            'kuryr_sriov_controller_provider_seconds',
            'Requests to the network provider (Neutron: method and '
            'collection), by outcome: done, or the kind of error.',
            ['request', 'outcome'],
            registry=registry,
            buckets=BUCKETS,
        )
        self.orphans = Counter(
            'kuryr_sriov_controller_orphans',
            'VIFs that were given back since their pods were gone.',
            registry=registry,
        )
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        registry.register(self)

    def observe(self, event: Event) -> None:
        """Count a step of the library that has ended."""
        outcome = {
            'done': 'done',
            'failed': type(event.error).__name__,
        }.get(event.phase)
        if outcome and event.operation == 'provider':
            self._provider_seconds.labels(event.step, outcome).observe(
                event.seconds
            )
        elif outcome:
            self._step_seconds.labels(
                event.operation, event.step, outcome
            ).observe(event.seconds)

    def observe_pod(self, outcome: str, seconds: float) -> None:
        """Count work on one pod that has ended."""
        self._pod_seconds.labels(outcome).observe(seconds)

    def add_gauge(
        self, name: str, text: str, value: Callable[[], float]
    ) -> None:
        """Show what ``value`` returns whenever it is asked for."""
        self._gauges[f'kuryr_sriov_controller_{name}'] = text, value

    def collect(self) -> Iterator[Any]:
        """The gauges as they are now (called by prometheus_client)."""
        for name, (text, value) in self._gauges.items():
            yield GaugeMetricFamily(name, text, value=value())
