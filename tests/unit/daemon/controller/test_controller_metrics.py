# SPDX-License-Identifier: Apache-2.0
"""What becomes of the library's events, for Prometheus."""

from prometheus_client import CollectorRegistry

from kuryr_sriov import Event, TransientError
from kuryr_sriov_daemon.controller.controller_metrics import ControllerMetrics


def count(registry, name, **labels):
    return registry.get_sample_value(
        f'kuryr_sriov_controller_{name}_seconds_count', labels
    )


def test_requests_to_the_provider_are_counted_by_outcome():
    registry = CollectorRegistry()
    metrics = ControllerMetrics(registry)
    error = TransientError('no answer')
    metrics.observe(Event('POST ports', 'done', 'provider', seconds=0.1))
    metrics.observe(
        Event('POST ports', 'failed', 'provider', seconds=5, error=error)
    )
    metrics.observe(Event('request', 'done', 'request', seconds=0.2))
    metrics.observe(Event('request', 'started', 'request'))
    asked = {'request': 'POST ports'}
    assert count(registry, 'provider', outcome='done', **asked) == 1
    assert count(registry, 'provider', outcome='TransientError', **asked) == 1
    step = {'operation': 'request', 'step': 'request', 'outcome': 'done'}
    assert count(registry, 'step', **step) == 1


def test_all_is_shown_where_the_others_are():
    registry = CollectorRegistry()
    metrics = ControllerMetrics(registry)
    metrics.observe_pod('done', 0.2)
    metrics.orphans.inc(3)
    metrics.add_gauge('pods', 'Pods.', lambda: 7.0)
    assert count(registry, 'pod', outcome='done') == 1
    shown = {
        name: registry.get_sample_value(f'kuryr_sriov_controller_{name}')
        for name in ('orphans_total', 'pods')
    }
    assert shown == {'orphans_total': 3, 'pods': 7}
