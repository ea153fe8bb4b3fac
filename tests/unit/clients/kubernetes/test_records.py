# SPDX-License-Identifier: Apache-2.0
"""Leases and events, as the API server is asked for them."""

import pytest

from kuryr_sriov.clients.kubernetes import records

LEASE = {'metadata': {'namespace': 'ns', 'name': 'lease'}, 'spec': {'x': 1}}
LEASES = '/apis/coordination.k8s.io/v1/namespaces/ns/leases'
EVENTS = '/apis/events.k8s.io/v1/namespaces/ns/events'
EVENT = {'metadata': {'namespace': 'ns', 'name': 'e1'}, 'note': 'text'}


class Session:
    """Notes the calls; raises what the caller takes for "missing"."""

    def __init__(self, answer=None, missing=False):
        self.calls, self.answer, self.missing = [], answer, missing

    def call(self, method, path, body=None, *more, missing=None):
        self.calls.append((method, path, body))
        if self.missing:
            raise missing('404')
        return self.answer


def test_a_lease_is_read():
    session = Session(LEASE)
    assert records.read_lease(session, 'ns', 'lease') == LEASE
    assert session.calls == [('GET', f'{LEASES}/lease', None)]


def test_no_lease_is_none():
    assert records.read_lease(Session(missing=True), 'ns', 'lease') is None


def test_a_lease_that_nobody_made_is_made():
    session = Session()
    records.write_lease(session, LEASE)
    ((method, path, body),) = session.calls
    assert (method, path) == ('POST', LEASES)
    assert (body['kind'], body['spec']) == ('Lease', LEASE['spec'])
    assert body['apiVersion'] == 'coordination.k8s.io/v1'


def test_a_lease_that_was_read_is_replaced_as_it_was_read():
    """The API server refuses it if it has changed since."""
    session = Session()
    metadata = {**LEASE['metadata'], 'resourceVersion': '7'}
    records.write_lease(session, {**LEASE, 'metadata': metadata})
    ((method, path, body),) = session.calls
    assert (method, path) == ('PUT', f'{LEASES}/lease')
    assert body['metadata'] == metadata


def test_an_event_is_made():
    session = Session()
    records.create_event(session, EVENT)
    ((method, path, body),) = session.calls
    assert (method, path) == ('POST', EVENTS)
    assert body == {
        **EVENT,
        'apiVersion': 'events.k8s.io/v1',
        'kind': 'Event',
    }


@pytest.mark.parametrize('missing', [False, True])
def test_whether_there_was_an_event_to_change(missing):
    session = Session(missing=missing)
    patched = records.patch_event(session, 'ns', 'e1', {'series': {}})
    assert patched is not missing
    assert session.calls == [('PATCH', f'{EVENTS}/e1', {'series': {}})]
