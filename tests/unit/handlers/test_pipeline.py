# SPDX-License-Identifier: Apache-2.0
"""Steps run in order, and are taken back in reverse."""

import pytest

from kuryr_sriov.handlers.events import Event, ignore_event
from kuryr_sriov.handlers.pipeline import NothingToUndo, Pipeline


class Names(list):
    """A value: the steps that it has been through."""

    event = Event('all', 'started', 'all', container_id='c0ffee')


class Append:
    """Writes down what happens to it."""

    def __init__(self, name, log, *, fails=False, undo_fails=False):
        self.name, self.log = name, log
        self.fails, self.undo_fails = fails, undo_fails

    def run(self, value):
        if self.fails:
            raise ValueError(f'{self.name} failed')
        self.log.append(self.name)
        return Names([*value, self.name])

    def undo(self, value):
        if self.undo_fails:
            raise OSError(f'{self.name} stays')
        self.log.append((self.name, tuple(value)))


def test_the_value_travels_through_all_steps():
    log = []
    pipeline = Pipeline(
        'all', [Append('a', log), Append('b', log)], ignore_event
    )
    assert pipeline.run(Names()) == ['a', 'b']
    assert log == ['a', 'b']


def test_a_failure_undoes_the_failing_step_and_those_before_it():
    log = []
    pipeline = Pipeline(
        'all',
        [
            Append('a', log),
            Append('b', log),
            Append('c', log, fails=True),
            Append('d', log),
        ],
        ignore_event,
    )
    with pytest.raises(ValueError, match='c failed'):
        pipeline.run(Names())
    known = ('a', 'b')
    assert log == ['a', 'b', ('c', known), ('b', known), ('a', known)]


def test_an_undo_that_fails_keeps_what_is_on_record():
    log = []
    pipeline = Pipeline(
        'all',
        [
            Append('record', log),
            Append('connect', log, undo_fails=True),
            Append('late', log, fails=True),
        ],
        ignore_event,
    )
    with pytest.raises(ValueError, match='late failed') as raised:
        pipeline.run(Names())
    assert raised.value.__notes__ == ['and undoing it failed: connect stays']
    assert log == ['record', 'connect', ('late', ('record', 'connect'))]


def test_a_pipeline_is_a_step():
    log = []
    inner = Pipeline(
        'inner', [Append('a', log), Append('b', log)], ignore_event
    )
    outer = Pipeline(
        'outer', [inner, Append('c', log, fails=True)], ignore_event
    )
    with pytest.raises(ValueError, match='c failed'):
        outer.run(Names())
    known = ('a', 'b')
    assert log == ['a', 'b', ('c', known), ('b', known), ('a', known)]


def test_an_observer_is_told_how_each_step_begins_and_ends():
    seen = []
    steps = [Append('a', []), Append('b', [], fails=True, undo_fails=True)]
    with pytest.raises(ValueError, match='b failed') as raised:
        Pipeline('all', steps, seen.append).run(Names())
    assert [(event.step, event.phase) for event in seen] == [
        ('a', 'started'),
        ('a', 'done'),
        ('b', 'started'),
        ('b', 'failed'),
        ('b', 'undoing'),
        ('b', 'undo-failed'),
    ]
    assert {event.container_id for event in seen} == {'c0ffee'}
    assert [event.seconds > 0 for event in seen] == [False, True] * 3
    assert seen[3].error is raised.value
    assert str(seen[5].error) == 'b stays'


def test_a_step_without_traces_has_nothing_to_undo():
    assert NothingToUndo().undo(Names()) is None
