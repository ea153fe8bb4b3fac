# SPDX-License-Identifier: Apache-2.0
"""VIFs are given back only when it is sure that nobody needs them."""

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.handlers.orphans import HANDFUL, OrphanCollector

GRACE = 600.0


class Provider:
    """What it has, and what it is told to give back."""

    def __init__(self, *vifs):
        self.vifs = list(vifs)
        self.stuck = set()

    def list_vifs(self):
        return list(self.vifs)

    def release_vif(self, owned):
        if owned.vif.id in self.stuck:
            raise exceptions.ProviderUnavailable('not now')
        self.vifs.remove(owned)


def vif(id, uid='uid-1', ifname='net1', name=None, **more):
    name = f'pod-{uid}' if name is None else name
    pod = model.Pod('ns' if name else '', name, uid, 'node-1')
    more = {'age': GRACE} | more
    made = model.Vif(id, ifname, '', '', 'physnet22', '')
    return model.OwnedVif(pod, made, **more)


def collect(provider, *alive, limit=25.0):
    collector = OrphanCollector(provider, GRACE, limit)
    return collector.collect(lambda pod: pod.uid in alive)


def test_a_pod_that_is_gone_keeps_nothing():
    provider = Provider(vif('a'), vif('b', ifname='net2'), vif('c', 'uid-2'))
    assert collect(provider, 'uid-2') == ('a', 'b')
    assert [owned.vif.id for owned in provider.vifs] == ['c']


def test_each_pod_is_asked_for_once_by_its_name():
    provider = Provider(vif('a'), vif('b', ifname='net2'))
    asked = []
    OrphanCollector(provider, GRACE, 25.0).collect(
        lambda pod: bool(asked.append(str(pod))) or True
    )
    assert asked == ['ns/pod-uid-1']


@pytest.mark.parametrize('age', [0.0, GRACE - 1])
def test_a_young_vif_protects_its_pod(age):
    provider = Provider(vif('a'), vif('b', ifname='net2', age=age))
    assert collect(provider) == ()


def test_a_pod_whose_name_is_lost_is_not_taken_for_gone(caplog):
    provider = Provider(vif('a', name=''))
    assert collect(provider) == ()
    assert 'VIF a is kept' in caplog.text
    assert 'uid-1' in caplog.text


def test_a_vf_that_is_in_use_is_told_and_left(caplog):
    provider = Provider(vif('a'), vif('b', ifname='net2', in_use=True))
    assert collect(provider) == ()
    assert 'VIF b is kept: pod ns/pod-uid-1 (uid uid-1) is gone' in caplog.text


def test_an_api_server_that_does_not_answer_proves_nothing():
    provider = Provider(vif('a'), vif('b', 'uid-2'))

    def is_there(pod):
        if pod.uid == 'uid-2':
            raise exceptions.TransientError('no answer')
        return False

    with pytest.raises(exceptions.TransientError, match='no answer'):
        OrphanCollector(provider, GRACE, 25.0).collect(is_there)
    assert len(provider.vifs) == 2


def test_too_many_at_once_are_a_fault_and_no_proof():
    pods = [f'uid-{number}' for number in range(100)]
    provider = Provider(*(vif(uid, uid) for uid in pods))
    assert len(collect(provider, *pods[25:])) == 25
    provider = Provider(*(vif(uid, uid) for uid in pods))
    with pytest.raises(exceptions.OrphansRefused) as caught:
        collect(provider, *pods[26:])
    assert '26 of 100 pods' in str(caught.value)
    assert 'orphan_limit' in str(caught.value)
    assert len(provider.vifs) == 100
    assert len(collect(provider, *pods[26:], limit=100.0)) == 26


def test_a_handful_may_always_be_gone():
    pods = [f'uid-{number}' for number in range(HANDFUL + 1)]
    provider = Provider(*(vif(uid, uid) for uid in pods))
    with pytest.raises(exceptions.OrphansRefused):
        collect(provider)
    assert len(collect(provider, pods[0])) == HANDFUL


def test_a_double_goes_once_it_is_sure_which_one_it_is():
    provider = Provider(vif('a'), vif('b'))
    assert collect(provider, 'uid-1') == ()
    provider = Provider(vif('a', placed=True), vif('b'))
    assert collect(provider, 'uid-1') == ('b',)


@pytest.mark.parametrize(
    'other',
    [
        vif('b', ifname='net2'),
        vif('b', placed=True),
        vif('b', in_use=True),
        vif('b', age=GRACE - 1),
    ],
)
def test_what_is_no_double_stays(other):
    provider = Provider(vif('a', placed=True), other)
    assert collect(provider, 'uid-1') == ()


def test_interfaces_without_a_name_are_not_taken_for_one():
    provider = Provider(vif('a', ifname='', placed=True), vif('b', ifname=''))
    assert collect(provider, 'uid-1') == ()


def test_one_that_cannot_be_given_back_holds_up_no_other(caplog):
    provider = Provider(vif('a'), vif('b', 'uid-2'))
    provider.stuck.add('a')
    assert collect(provider) == ('b',)
    assert 'orphaned VIF a stays: not now' in caplog.text
