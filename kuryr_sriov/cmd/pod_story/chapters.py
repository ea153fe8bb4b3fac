# SPDX-License-Identifier: Apache-2.0
"""What is told of a pod: chapters, each from one source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kuryr_sriov import exceptions


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is wrong.

    :param remedy: what to do; empty if ``message`` says it.
    """

    message: str
    remedy: str = ''


@dataclass(frozen=True, slots=True)
class Chapter:
    """What one source says.

    :param facts: a line each.
    :param unread: why the source could not be asked; empty if it was.
    """

    title: str
    facts: tuple[str, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    unread: str = ''


@dataclass(frozen=True, slots=True)
class Story:
    """A pod's story, from its annotation to its port, in that order.

    The first trouble is the one to begin with: what follows it in the story
    follows from it in the cluster, too.
    """

    pod: str
    chapters: tuple[Chapter, ...]

    @property
    def troubles(self) -> tuple[Trouble, ...]:
        """All that is wrong."""
        return tuple(t for c in self.chapters for t in c.troubles)


Line = str | Trouble


def read_chapter(
    title: str, read_lines: Callable[[], Iterator[Line]]
) -> Chapter:
    """The chapter that has these lines; an error ends it as unread."""
    facts, troubles, unread = [], [], ''
    try:
        for line in read_lines():
            if isinstance(line, Trouble):
                troubles.append(line)
            else:
                facts.append(line)
    except exceptions.KuryrSriovError as error:
        unread = str(error)
    return Chapter(title, tuple(facts), tuple(troubles), unread)
