# SPDX-License-Identifier: Apache-2.0
"""Steps run in order, and are taken back in reverse."""

import pytest

from kuryr_sriov.handlers.pipeline import Pipeline, Pure


class Append:
    """Writes down what happens to it."""

    def __init__(self, name, log, *, fails=False, undo_fails=False):
        self.name, self.log = name, log
        self.fails, self.undo_fails = fails, undo_fails

    def run(self, value):
        if self.fails:
            raise ValueError(f'{self.name} failed')
        self.log.append(self.name)
        return [*value, self.name]

    def undo(self, value):
        if self.undo_fails:
            raise OSError(f'{self.name} stays')
        self.log.append((self.name, tuple(value)))


def test_the_value_travels_through_all_steps():
    log = []
    pipeline = Pipeline('all', [Append('a', log), Append('b', log)])
    assert pipeline.run([]) == ['a', 'b']
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
    )
    with pytest.raises(ValueError, match='c failed'):
        pipeline.run([])
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
    )
    with pytest.raises(ValueError, match='late failed') as raised:
        pipeline.run([])
    assert raised.value.__notes__ == ['and undoing it failed: connect stays']
    assert log == ['record', 'connect', ('late', ('record', 'connect'))]


def test_a_pipeline_is_a_step():
    log = []
    inner = Pipeline('inner', [Append('a', log), Append('b', log)])
    outer = Pipeline('outer', [inner, Append('c', log, fails=True)])
    with pytest.raises(ValueError, match='c failed'):
        outer.run([])
    known = ('a', 'b')
    assert log == ['a', 'b', ('c', known), ('b', known), ('a', known)]


def test_an_observer_is_told_each_step_before_it_happens():
    seen = []
    steps = [Append('a', []), Append('b', [], fails=True)]
    with pytest.raises(ValueError, match='b failed'):
        Pipeline('all', steps, seen.append).run([])
    assert seen == ['a', 'b', 'undo-b', 'undo-a']


def test_a_pure_step_has_nothing_to_undo():
    assert Pure().undo(1) is None
