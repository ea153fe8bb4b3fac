# SPDX-License-Identifier: Apache-2.0
"""Steps in a row, each of which can be taken back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

LOG = logging.getLogger(__name__)

T = TypeVar('T')

Observer = Callable[[str], None]
"""Is told the name of each step before it runs or is undone."""


def ignore(step: str) -> None:
    """The observer that looks away."""


class Step(Protocol[T]):
    """Takes a value and returns the next."""

    @property
    def name(self) -> str:
        """What logs and observers call it."""

    def run(self, value: T) -> T:
        """Do it."""

    def undo(self, value: T) -> None:
        """Take it back, also when ``run`` failed half-way.

        :param value: the value that the failing step was given: all that
            the steps before it had found out.
        """


class Pure(Generic[T]):
    """Base of the steps that change nothing outside the value."""

    def undo(self, value: T) -> None:
        """There is nothing to take back."""


class Pipeline(Generic[T]):
    """Runs steps in order; if one fails, undoes it and those before it.

    An undo that fails ends the unwinding: what the earlier steps put on
    record is then still needed to restore the rest. The first error is
    raised; a failed undo is added to it as a note. A pipeline is a step.
    """

    def __init__(
        self,
        name: str,
        steps: Iterable[Step[T]],
        observe: Observer = ignore,
    ) -> None:
        self.name = name
        self._steps = tuple(steps)
        self._observe = observe

    def run(self, value: T) -> T:
        """Run all steps and return the last one's value."""
        for count, step in enumerate(self._steps, 1):
            self._observe(step.name)
            try:
                value = step.run(value)
            except Exception as error:
                self._unwind(count, value, error)
                raise
        return value

    def undo(self, value: T) -> None:
        """Undo all steps, the last one first."""
        for step in reversed(self._steps):
            self._observe(f'undo-{step.name}')
            step.undo(value)

    def _unwind(self, count: int, value: T, error: Exception) -> None:
        undone = Pipeline(self.name, self._steps[:count], self._observe)
        try:
            undone.undo(value)
        except Exception as failure:
            LOG.debug('undo of %s failed', self.name, exc_info=True)
            error.add_note(f'and undoing it failed: {failure}')
