# SPDX-License-Identifier: Apache-2.0
"""What becomes of the library's events on a node, for Prometheus."""

import pytest

from kuryr_sriov import Event, TransientError
from kuryr_sriov_daemon.node.node_metrics import NodeMetrics


@pytest.fixture
def metrics():
    return NodeMetrics()


def count(metrics, name, **labels):
    return metrics.registry.get_sample_value(
        f'kuryr_sriov_node_{name}_seconds_count', labels
    )


@pytest.mark.parametrize(
    ('phase', 'error', 'outcome'),
    [
        ('done', None, 'done'),
        ('undone', None, 'undone'),
        ('failed', TransientError('no answer'), 'TransientError'),
    ],
)
def test_a_step_is_counted_when_it_ends(metrics, phase, error, outcome):
    step = {'operation': 'attach', 'step': 'lock', 'driver': 'netdevice'}
    metrics.observe(Event('lock', 'started', 'attach', driver='netdevice'))
    metrics.observe(
        Event('lock', phase, 'attach', driver='netdevice', error=error)
    )
    assert count(metrics, 'step', **step, outcome=outcome) == 1
    assert count(metrics, 'step', **step, outcome='started') is None


def test_requests_of_the_runtime_are_counted_by_their_code(metrics):
    metrics.observe_request('ADD', 11, 0.5)
    metrics.observe_request('ADD', 0, 0.1)
    assert count(metrics, 'cni', command='ADD', code='11') == 1
    assert count(metrics, 'cni', command='ADD', code='0') == 1
