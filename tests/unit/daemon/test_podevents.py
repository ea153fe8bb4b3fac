# SPDX-License-Identifier: Apache-2.0
"""Events: told once, counted up, and nobody waits for them."""

import threading

import pytest

from kuryr_sriov import Pod, ResourceConflict, TransientError
from kuryr_sriov_daemon import podevents
from kuryr_sriov_daemon.podevents import PodEvent, PodEvents

POD = Pod('ns', 'web', 'uid-web', 'node-1')
EVENT = PodEvent(POD, 'NotAllocated', 'too few VFs', 'RequestVifs')
SECONDS = 10


class Server:
    def __init__(self):
        self.events = {}
        self.patches = []
        self.error = None

    def create(self, session, event):
        if self.error:
            raise self.error
        name = event['metadata']['name']
        if name in self.events:
            raise ResourceConflict('it is there')
        self.events[name] = event

    def patch(self, session, namespace, name, patch):
        if name not in self.events:
            return False
        self.patches.append(patch)
        return True


@pytest.fixture
def server(monkeypatch):
    made = Server()
    monkeypatch.setattr(podevents, 'create_event', made.create)
    monkeypatch.setattr(podevents, 'patch_event', made.patch)
    return made


@pytest.fixture
def told(server):
    """Has events told, and returns once they are written."""

    def tell(*events, by=None):
        recorder = by or PodEvents(None, 'kuryr-sriov-controller', 'one')
        thread = threading.Thread(target=recorder.run)
        recorder._stopping = False
        thread.start()
        for event in events:
            recorder.tell(event)
        recorder.stop()
        thread.join(SECONDS)
        assert not thread.is_alive()
        return recorder

    return tell


def test_it_says_what_and_of_whom(server, told):
    told(EVENT)
    (event,) = server.events.values()
    assert event['regarding']['uid'] == 'uid-web'
    assert event['reason'] == 'NotAllocated'
    assert event['note'] == 'too few VFs'
    assert event['action'] == 'RequestVifs'
    assert event['type'] == 'Warning'
    assert event['reportingController'] == 'kuryr-sriov-controller'
    assert event['metadata']['namespace'] == 'ns'


def test_the_same_is_told_once(server, told):
    told(EVENT, EVENT, EVENT)
    assert len(server.events) == 1
    assert server.patches == []


def test_another_reason_is_another_event(server, told):
    told(EVENT, PodEvent(POD, 'DeviceBusy', 'too few VFs', 'RequestVifs'))
    assert len(server.events) == 2


def test_after_a_while_it_is_counted_up(server, told, monkeypatch):
    monkeypatch.setattr(podevents, 'QUIET', -1.0)
    told(EVENT, by=told(EVENT))
    assert len(server.events) == 1
    assert [patch['series']['count'] for patch in server.patches] == [2]


def test_what_an_earlier_process_told_is_counted_up(server, told):
    told(EVENT)
    told(EVENT)
    assert len(server.events) == 1
    assert [patch['series']['count'] for patch in server.patches] == [2]


def test_what_has_expired_is_told_again(server, told, monkeypatch):
    """The API server keeps events for an hour."""
    monkeypatch.setattr(podevents, 'QUIET', -1.0)
    recorder = told(EVENT)
    server.events.clear()
    told(EVENT, by=recorder)
    assert len(server.events) == 1


def test_a_long_note_is_cut_to_what_the_api_server_takes(server, told):
    told(PodEvent(POD, 'R', 'ä' * 2000, 'A'))
    (event,) = server.events.values()
    assert len(event['note'].encode()) <= 1024


def test_an_api_server_that_is_away_costs_an_event(server, told, caplog):
    server.error = TransientError('no answer')
    told(EVENT)
    assert 'no answer' in caplog.text


def test_too_many_are_dropped_and_counted(server, monkeypatch):
    monkeypatch.setattr(podevents, 'MOST_WAITING', 2)
    recorder = PodEvents(None, 'c', 'i')
    for number in range(5):
        recorder.tell(PodEvent(POD, 'R', str(number), 'A'))
    assert recorder.dropped == 3


def test_what_is_remembered_has_a_limit(server, told, monkeypatch):
    monkeypatch.setattr(podevents, 'MOST_REMEMBERED', 2)
    recorder = told(*(PodEvent(POD, 'R', str(n), 'A') for n in range(5)))
    assert len(recorder._told) == 2
