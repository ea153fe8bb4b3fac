# SPDX-License-Identifier: Apache-2.0
"""Pods are told of VIFs that were changed at the provider."""

import dataclasses

import pytest
from guards import guard

from kuryr_sriov import (
    Location,
    Pod,
    PortObject,
    ProviderUnavailable,
    ReportedAttachment,
    Vif,
)
from kuryr_sriov.codec import to_json
from kuryr_sriov_daemon.controller.changes import ChangedVifs

POD = Pod('ns', 'web', 'uid-web', 'node-1')
VIFS = tuple(
    Vif(f'id-{n}', f'net{n}', 'ns/a', 'x/a', 'a', f'fa:16:3e:00:00:0{n}')
    for n in (1, 2)
)


def port_of(*attached, vifs=VIFS, text=None):
    return PortObject(
        POD,
        vifs_json=text or to_json(vifs),
        attachments=tuple(
            ReportedAttachment(
                vif.ifname, vif.id, Location('node-1', '0', '', 'a')
            )
            for vif in attached
        ),
    )


class Scene:
    """A provider that has what is in ``now``, and what pods were told."""

    def __init__(self):
        self.now = {vif.id: vif for vif in VIFS}
        self.asked = []
        self.told = []
        self.published = []
        self.changes = guard(ChangedVifs(self, self, self, self), '_newer')

    def refresh_vifs(self, vifs):
        self.asked.append([vif.id for vif in vifs])
        return [self.now[vif.id] for vif in vifs if vif.id in self.now]

    def publish(self, pod, vifs, request):
        self.published.append((pod, vifs, request))
        return port_of(*vifs, vifs=vifs)

    def put(self, port):
        return port

    def tell(self, event):
        self.told.append(event)

    def change(self, number, **changes):
        old = self.now[f'id-{number}']
        self.now[old.id] = dataclasses.replace(old, **changes)


@pytest.fixture
def scene():
    return Scene()


def test_a_change_is_told_with_both_values(scene):
    scene.change(2, max_tx_rate=200, spoofchk=False, active=True)
    scene.changes.look([port_of(*VIFS)])
    (event,) = scene.told
    assert (event.pod, event.reason) == (POD, 'VifChanged')
    assert event.note == (
        'net2: max_tx_rate is 200, was unset and spoofchk is False, was unset '
        'of VIF id-2, by the network provider; its node has the VF follow'
    )
    assert event.kind == 'Normal'
    assert scene.changes.count == 1


def test_the_node_gets_settings_that_may_change_and_no_others(scene):
    """Another VLAN is another tenant's network: the pod is told."""
    scene.change(2, max_tx_rate=200, vlan=7, mac='fa:16:3e:00:00:99')
    port = port_of(*VIFS)
    assert scene.changes.look([port]) == (POD.uid,)
    followed, kept = scene.told
    assert followed.note.startswith('net2: max_tx_rate is 200, was unset of')
    assert (kept.kind, kept.note) == (
        'Warning',
        'net2: mac is fa:16:3e:00:00:99, was fa:16:3e:00:00:02 and vlan is 7, '
        'was 0 of VIF id-2, by the network provider; the VF keeps what it '
        'was given: recreate the pod',
    )
    now = scene.changes.publish(port)
    wanted = (VIFS[0], dataclasses.replace(VIFS[1], max_tx_rate=200))
    assert scene.published == [(POD, wanted, '')]
    assert scene.changes.publish(now) is now
    assert len(scene.published) == 1


def test_a_port_object_without_changes_is_left_alone(scene):
    port = port_of(*VIFS)
    scene.change(1, vlan=7)
    assert scene.changes.look([port]) == ()
    assert scene.changes.publish(port) is port
    assert scene.published == []


def test_what_is_as_it_was_is_not_told(scene):
    """That traffic flows now is no change."""
    scene.change(1, active=True)
    scene.changes.look([port_of(*VIFS)])
    assert (scene.told, scene.changes.count) == ([], 0)


def test_a_change_that_was_taken_back_counts_no_more(scene):
    scene.change(1, link_state='disable')
    scene.changes.look([port_of(*VIFS)])
    scene.change(1, link_state=None)
    scene.changes.look([port_of(*VIFS)])
    assert (len(scene.told), scene.changes.count) == (1, 0)


def test_what_is_not_attached_yet_is_not_asked_for(scene):
    scene.changes.look([port_of(VIFS[1])])
    assert scene.asked == [['id-2']]


def test_a_vif_that_the_provider_does_not_tell_of_is_left_out(scene):
    del scene.now['id-1']
    scene.change(2, vlan=7)
    scene.changes.look([port_of(*VIFS)])
    assert [event.note[:24] for event in scene.told] == [
        'net2: vlan is 7, was 0 o'
    ]


def test_an_unreadable_port_object_stops_no_other(scene):
    scene.change(1, trust=True)
    scene.changes.look([port_of(*VIFS, text='{'), port_of(*VIFS)])
    assert len(scene.told) == 1


def test_a_provider_that_does_not_answer_is_an_error(scene, monkeypatch):
    def fail(vifs):
        raise ProviderUnavailable('503')

    monkeypatch.setattr(scene, 'refresh_vifs', fail)
    with pytest.raises(ProviderUnavailable):
        scene.changes.look([port_of(*VIFS)])
