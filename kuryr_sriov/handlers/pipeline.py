# SPDX-License-Identifier: Apache-2.0
"""Steps in a row, each of which can be undone."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from kuryr_sriov.handlers.events import Event, Observer, Phase, Told, telling
from kuryr_sriov.host import wait

T = TypeVar('T', bound=Told)


class Step(Protocol[T]):
    """Takes a value and returns the next."""

    @property
    def name(self) -> str:
        """What events call it."""

    def run(self, value: T) -> T:
        """Do it."""

    def undo(self, value: T) -> None:
        """Take it back, also when ``run`` failed half-way.

        :param value: the value that the failing step was given: all that
            the steps before it had found out.
        """


class NothingToUndo(Generic[T]):
    """Base of the steps that change nothing that a failure should undo."""

    def undo(self, value: T) -> None:
        """Do nothing."""


class Pipeline(Generic[T]):
    """Runs steps in order; if one fails, undoes it and those before it.

    An undo that fails ends the unwinding: what the earlier steps put on
    record is then still needed to restore the rest. The first error is
    raised; a failed undo is told as an event and noted on that error. A
    pipeline is a step.

    :param name: what events call it when it is a step itself.
    :param undo_within: seconds for undoing. They begin when a step fails:
        it may have failed for want of time.
    """

    def __init__(
        self,
        name: str,
        steps: Iterable[Step[T]],
        observe: Observer,
        undo_within: float = math.inf,
    ) -> None:
        self.name = name
        self._steps = tuple(steps)
        self._observe = observe
        self._undo_within = undo_within

    def run(self, value: T) -> T:
        """Run all steps and return the last one's value."""
        for count, step in enumerate(self._steps, 1):
            try:
                with telling(
                    self._observe, _step_event(value, step, 'started')
                ):
                    value = step.run(value)
            except Exception as error:
                # A BaseException ends the process: what is on record is undone
                # when the next one starts.
                self._undo_steps(count, value, error)
                raise
        return value

    def undo(self, value: T) -> None:
        """Undo all steps, the last one first."""
        for step in reversed(self._steps):
            with telling(self._observe, _step_event(value, step, 'undoing')):
                step.undo(value)

    def _undo_steps(self, count: int, value: T, error: Exception) -> None:
        undone = Pipeline(self.name, self._steps[:count], self._observe)
        try:
            with wait.limit(self._undo_within, ignore_earlier=True):
                undone.undo(value)
        except Exception as failure:
            error.add_note(f'and undoing it failed: {failure}')


def _step_event(value: T, step: Step[T], phase: Phase) -> Event:
    return value.event.become(phase, step=step.name)
