# SPDX-License-Identifier: Apache-2.0
"""What becomes of the library's events on a node, for Prometheus."""

import dataclasses
import types

import pytest
from values import VIF

from kuryr_sriov import Attachment, Event, Pod, Sandbox, TransientError
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


RECORD = Attachment(
    sandbox=Sandbox('c0ffee', '/run/netns/pod', Pod('web', 'web-0', 'uid-0')),
    vif=VIF,
    pci='0000:02:10.0',
    driver='netdevice',
    done=True,
)
OTHER = 'intel.com/physnet23'
VFS = {
    VIF.resource: {f'0000:02:10.{number}' for number in range(7)},
    OTHER: {'0000:03:10.0'},
}


def make_record(ifname, number, **changes):
    """A record of that pod's interface, on that VF of physnet22."""
    vif = dataclasses.replace(VIF, ifname=ifname)
    pci = f'0000:02:10.{number}'
    return dataclasses.replace(RECORD, vif=vif, pci=pci, **changes)


def test_vfs_are_counted_by_what_they_are_at(metrics):
    fine = make_record('net1', 0)
    changing = make_record('net2', 1, pending=VIF)
    drifted = make_record('net3', 2)
    owed = make_record('net4', 3, owed='a rate', done=False)
    also_owed = make_record('net5', 4)
    unreadable = 'c0ffee', 'net6'
    records = [fine, changing, drifted, owed, also_owed]
    metrics.follow(
        types.SimpleNamespace(attachments=lambda: records),
        types.SimpleNamespace(
            offered=VFS,
            drifts={drifted.key: 'another VLAN'},
            owed={also_owed.key: 'its MAC', unreadable: 'no record'},
            without_vfs=('uid-7', 'uid-8'),
        ),
    )

    def shown(name, **labels):
        return metrics.registry.get_sample_value(
            f'kuryr_sriov_node_{name}', labels
        )

    seen = {
        name: [
            shown(f'vfs{name}', resource=resource)
            for resource in (VIF.resource, OTHER)
        ]
        for name in ('', '_free', '_drifted', '_changing', '_owed')
    }
    assert seen == {
        '': [7, 1],
        '_free': [2, 1],
        '_drifted': [1, 0],
        '_changing': [1, 0],
        '_owed': [2, 0],
    }
    assert shown('vfs_owed', resource='') == 1
    assert shown('pods_without_vfs') == 2
    of_resource = {'resource': VIF.resource}
    assert shown('attachments', **of_resource, state='attached') == 4
    assert shown('attachments', **of_resource, state='incomplete') == 1
