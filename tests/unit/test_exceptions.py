# SPDX-License-Identifier: Apache-2.0
"""Each error says its message and nothing else, also in another process."""

import inspect
import pickle

import pytest

from kuryr_sriov import exceptions
from kuryr_sriov.exceptions import KuryrSriovError, TransientError

MORE = {
    'InvalidInput': {'field': 'netns'},
    'UnsupportedSetting': {'setting': 'trust'},
    'KernelError': {'errno': 16},
    'Drifted': {'may_settle': True},
    'Owed': {'usable': True},
}
PAUSES = {'ProviderDenied': 30, 'NetworkMissing': 30, 'OrphansRefused': 600}
KINDS = [
    kind
    for _, kind in inspect.getmembers(exceptions, inspect.isclass)
    if issubclass(kind, KuryrSriovError)
    and kind is not exceptions.ConfigurationError
]


@pytest.mark.parametrize('kind', KINDS, ids=lambda kind: kind.__name__)
def test_what_it_tells_survives_the_way_to_another_process(kind):
    more = MORE.get(kind.__name__, {})
    error = kind('the message', **more)
    for one in (error, pickle.loads(pickle.dumps(error))):
        assert type(one) is kind
        assert str(one) == 'the message'
        assert {name: getattr(one, name) for name in more} == more


@pytest.mark.parametrize(
    'kind',
    [kind for kind in KINDS if issubclass(kind, TransientError)],
    ids=lambda kind: kind.__name__,
)
def test_each_says_when_a_retry_makes_sense(kind):
    assert kind('busy').retry_after == PAUSES.get(kind.__name__, 5)
    error = pickle.loads(pickle.dumps(kind('busy', retry_after=0.5)))
    assert error.retry_after == 0.5


def test_mistakes_are_listed_a_line_each():
    error = exceptions.ConfigurationError(['one', 'two'])
    for each in (error, pickle.loads(pickle.dumps(error))):
        assert each.problems == ('one', 'two')
        assert str(each) == 'one\ntwo'


def test_what_an_error_leaves_out_is_the_careful_answer():
    assert not exceptions.Drifted('it is').may_settle
    assert not exceptions.Owed('a name').usable
