# SPDX-License-Identifier: Apache-2.0
"""What is told of a pod's VFs, and when nothing is."""

import dataclasses
import json
import types

import pytest
from values import VIF

from kuryr_sriov import (
    Attachment,
    Condition,
    Pod,
    PortObject,
    ReportedAttachment,
    Sandbox,
    network_status,
)
from kuryr_sriov.codec import to_json
from kuryr_sriov.model import AttachedVif, DeviceInfo, Location
from kuryr_sriov_daemon.node import reports
from kuryr_sriov_daemon.node.reports import StatusReports

POD = Pod('default', 'web', 'uid', 'node1')
PCI = '0000:02:10.0'
NOW, EARLIER = '2026-01-02T00:00:00Z', '2026-01-01T00:00:00Z'
RECORD = Attachment(
    Sandbox('c1', '/run/netns/c1', POD),
    VIF,
    PCI,
    driver='netdevice',
    pf='0000:02:00.0',
    done=True,
)
ATTACHED = AttachedVif(
    vif=VIF,
    location=Location('node1', PCI, '8086:10ca', 'physnet22'),
    device_info=DeviceInfo(pci=PCI),
    driver='netdevice',
)
TOLD = ReportedAttachment(
    interface='net1',
    vif_id=VIF.id,
    location=ATTACHED.location,
    driver='netdevice',
    pf='0000:02:00.0',
    attached_at=NOW,
)
DONE = Condition('True', 'Attached', '', NOW)
PROMISED = PortObject(POD, vifs_json=to_json((VIF,)))
OTHERS = {'name': 'cbr0', 'interface': 'eth0', 'ips': ['10.1.0.5']}


class World:
    """The node, its view and the API server, in one."""

    def __init__(self, annotate=True):
        self.records, self.port = [RECORD], PROMISED
        self.known = types.SimpleNamespace(
            pod=POD, is_over=False, network_status='', resource_version='7'
        )
        self.reported, self.statuses = [], []
        self.reports = StatusReports(self, self, self, annotate)

    def attachments(self, pod_uid=''):
        return [
            record
            for record in self.records
            if pod_uid in ('', record.sandbox.pod.uid)
        ]

    def describe(self, record):
        return dataclasses.replace(ATTACHED, vif=record.vif)

    def get_port(self, uid):
        return self.port

    def get_pod(self, uid):
        return self.known

    def report(self, pod, attachments, condition):
        self.reported.append((pod, attachments, condition))

    def patch_network_status(self, *patch):
        self.statuses.append(patch)

    def look(self):
        """What is reported now; the API server has it from then on."""
        self.reported.clear()
        self.reports._report_pod('uid')
        for _pod, attachments, condition in self.reported:
            self.port = dataclasses.replace(
                self.port,
                attachments=tuple(attachments),
                conditions={'Attached': condition},
            )
        return list(self.reported)


@pytest.fixture
def world(monkeypatch):
    monkeypatch.setattr(reports, '_now_text', lambda: NOW)
    return World()


def test_what_is_attached_is_told_once(world):
    assert world.look() == [(POD, [TOLD], DONE)]
    assert world.look() == []


def test_what_is_not_complete_is_not_told(world):
    world.records = [dataclasses.replace(RECORD, done=False)]
    assert world.look() == []  # its ADD is under way, which is no news
    world.records = [RECORD]
    world.look()
    world.records = []
    gone = Condition('False', 'NotAttached', 'no VF is in the pod', NOW)
    assert world.look() == [(POD, [], gone)]


def test_the_time_of_an_attachment_stays_until_it_is_another(world):
    earlier = dataclasses.replace(TOLD, attached_at=EARLIER)
    since = dataclasses.replace(DONE, since=EARLIER)
    world.port = dataclasses.replace(
        PROMISED, attachments=(earlier,), conditions={'Attached': since}
    )
    assert world.look() == []
    other = dataclasses.replace(RECORD, pci='0000:02:10.2')
    place = dataclasses.replace(ATTACHED.location, pci_slot=other.pci)
    world.describe = lambda record: dataclasses.replace(
        ATTACHED, location=place
    )
    world.records = [other]
    ((_, (told,), condition),) = world.look()
    assert (told.attached_at, told.location) == (NOW, place)
    assert condition == since


def test_another_condition_alone_is_news(world):
    world.look()
    second = dataclasses.replace(VIF, id='2', ifname='net2')
    world.port = dataclasses.replace(
        world.port, vifs_json=to_json((VIF, second))
    )
    lacks = Condition('False', 'Incomplete', 'without a VF: net2', NOW)
    assert world.look() == [(POD, [TOLD], lacks)]


def test_drift_is_told_of_the_pods_whose_it_is(world):
    world.look()
    other = Pod('default', 'db', 'uid-db')
    world.records.append(
        dataclasses.replace(
            RECORD, sandbox=Sandbox('c2', '/run/netns/c2', other)
        )
    )
    queued = []
    world.reports._queue = types.SimpleNamespace(put=queued.append)
    world.reports.set_drifts({RECORD.key: 'mtu is 1, not 2'})
    assert queued == ['uid']
    world.reports.set_drifts({RECORD.key: 'mtu is 1, not 2'})
    assert queued == ['uid']
    ((_, (told,), condition),) = world.look()
    assert told.message == condition.message == 'mtu is 1, not 2'
    assert (condition.status, condition.reason) == ('False', 'Drifted')
    world.reports.set_drifts({})
    assert queued == ['uid', 'uid']


def test_nobody_is_told_of_a_pod_without_port_object(world):
    world.port = None
    assert world.look() == []
    assert world.statuses == []


def test_the_status_of_others_stays_beside_ours(world):
    old = {'name': 'old', 'interface': 'net1'}
    world.known.network_status = json.dumps([OTHERS, old])
    world.look()
    status = [OTHERS, *network_status([ATTACHED])]
    assert world.statuses == [(POD, status, '7')]
    world.known.network_status = json.dumps(status)
    world.look()
    assert len(world.statuses) == 1


@pytest.mark.parametrize('text', ['', '{', '{}', '7', '[7, "x"]'])
def test_a_status_that_cannot_be_read_is_written_anew(world, text):
    world.known.network_status = text
    world.look()
    assert world.statuses == [(POD, network_status([ATTACHED]), '7')]


def test_the_annotation_is_not_ours_to_write_everywhere(world):
    delegate = World(annotate=False)
    delegate.look()
    world.known.is_over = True
    world.look()
    world.known = None
    world.look()
    assert delegate.statuses == world.statuses == []


@pytest.mark.parametrize(
    ('port', 'news'),
    [
        (None, False),
        (PortObject(POD), False),
        (PROMISED, True),
        (PortObject(POD, attachments=(TOLD,)), True),
    ],
)
def test_a_pod_that_changes_is_looked_at_if_it_has_to_do_with_us(
    world, port, news
):
    queued = []
    world.reports._queue = types.SimpleNamespace(put=queued.append)
    world.port = port
    world.reports._pod_changed('uid')
    assert queued == ['uid'] * news


def test_at_its_start_it_tells_of_every_pod_that_has_vfs(world):
    listeners = []
    world.add_listener = listeners.append
    world.reports.start()
    world.reports.stop()
    assert listeners == [world.reports._pod_changed]
    assert not world.reports._thread.is_alive()
    assert [pod for pod, *_ in world.reported] in ([POD], [])
