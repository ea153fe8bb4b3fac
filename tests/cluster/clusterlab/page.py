# SPDX-License-Identifier: Apache-2.0
"""The commands of the how-to page, so that tests run what people read."""

from __future__ import annotations

import re
import shlex
import textwrap
from dataclasses import dataclass

from .machine import REPOSITORY

PAGE = REPOSITORY / 'doc/source/howto.rst'

_TITLE = re.compile(r'^(\S.*)\n[=-]{3,}$', re.MULTILINE)
_CONSOLE = re.compile(
    r'^\.\. code-block:: console\n\n((?:(?: {3}.*)?\n)+)', re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """One block of the page, as a reader types it.

    :param title: of the section that it stands in.
    :param answer: what the page shows of what is said.
    """

    title: str
    script: str
    answer: str

    def commands(self) -> list[list[str]]:
        """Its commands in words."""
        lines = self.script.replace('\\\n', ' ').splitlines()
        return [shlex.split(line) for line in lines]


def blocks(page: str | None = None) -> list[Block]:
    """All blocks with commands, in their order.

    :param page: its text, if not that of the how-to.
    """
    text = PAGE.read_text() if page is None else page
    titles = [(each.start(), each[1]) for each in _TITLE.finditer(text)]
    return [
        _parse(
            [title for start, title in titles if start < found.start()][-1],
            textwrap.dedent(found[1]).strip(),
        )
        for found in _CONSOLE.finditer(text)
    ]


def _parse(title: str, shown: str) -> Block:
    """Tell what is typed from what is said, and leave out the prompts."""
    typed: list[str] = []
    said: list[str] = []
    for line in shown.splitlines():
        if line.startswith(('# ', '$ ', '> ')):
            typed.append(line[2:])
        elif typed and typed[-1].endswith('\\'):
            typed.append(line)
        else:
            said.append(line)
    return Block(title, '\n'.join(typed) + '\n', '\n'.join(said))


def section(number: int) -> list[Block]:
    """The blocks of one of the page's steps."""
    return [each for each in blocks() if each.title.startswith(f'{number}. ')]
