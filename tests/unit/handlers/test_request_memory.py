# SPDX-License-Identifier: Apache-2.0
"""What is remembered of pods, and for how many of them."""

import dataclasses

import pytest
from guards import guard
from values import VIF

from kuryr_sriov.handlers import request_memory
from kuryr_sriov.handlers.request_memory import (
    Answered,
    RequestMemory,
    digest_of,
)

BODY = {
    'metadata': {'annotations': {'k8s.v1.cni.cncf.io/networks': 'net'}},
    'spec': {'nodeName': 'node-1', 'containers': []},
}


def test_the_pods_that_were_asked_for_last_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_memory, 'MOST', 2)
    memory = RequestMemory()
    guard(memory._answered, '_values')
    for uid in ('a', 'b', 'a', 'c'):
        memory.remember(uid, Answered(uid.encode(), ()))
    assert memory.find('b') is None
    for uid in ('a', 'c'):
        assert memory.find(uid) == Answered(uid.encode(), ())
    memory.forget('a')
    assert memory.find('a') is None
    memory.clear()
    assert memory.find('c') is None


def test_the_pods_that_were_released_last_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_memory, 'MOST', 2)
    memory = RequestMemory()
    for uid in ('a', 'b', 'c'):
        memory.remember(uid, Answered(b'', ()))
        memory.note_release(uid)
        assert memory.find(uid) is None
    assert not memory.is_released('a')
    assert memory.is_released('b')
    assert memory.is_released('c')
    memory.clear()
    assert not memory.is_released('c')


def test_what_becomes_of_one_vif_leaves_the_others_and_the_digest() -> None:
    first, second = (dataclasses.replace(VIF, id=id) for id in ('1', '2'))
    memory = RequestMemory()
    memory.update_vif('a', first)
    assert memory.find('a') is None
    memory.remember('a', Answered(b'digest', (first, second)))
    active = dataclasses.replace(second, active=True)
    memory.update_vif('a', active)
    assert memory.find('a') == Answered(b'digest', (first, active))


def test_a_pod_on_another_node_has_another_digest() -> None:
    elsewhere = {**BODY, 'spec': {**BODY['spec'], 'nodeName': 'node-2'}}
    assert digest_of(BODY) == digest_of(dict(BODY))
    one, other = (
        {
            **BODY,
            'spec': {
                'containers': [{'resources': {'requests': dict(requests)}}]
            },
        }
        for requests in (
            [('i.com/a', '1'), ('i.com/b', '2')],
            [('i.com/b', '2'), ('i.com/a', '1')],
        )
    )
    assert digest_of(one) == digest_of(other)
    assert len(digest_of(one)) == 16  # of each of 65,536 pods
    assert digest_of(BODY) != digest_of(elsewhere)
