# SPDX-License-Identifier: Apache-2.0
"""Text for people, JSON for programs."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Iterable, Sequence

from kuryr_sriov import codec

COLUMNS = 80
"""What is assumed where there is no terminal, and never exceeded."""


def to_json(value: object) -> str:
    """Indented, with the keys of ``codec``."""
    return json.dumps(codec.to_builtins(value), indent=2)


def wrap_text(text: str, first: str = '', indent: str = '') -> list[str]:
    """The text's lines; no word, path or option is broken."""
    columns = min(shutil.get_terminal_size((COLUMNS, 24)).columns, COLUMNS)
    return textwrap.wrap(
        text,
        columns,
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def format_table(
    rows: Iterable[Sequence[str]], right: Iterable[int] = ()
) -> list[str]:
    """Aligned columns, two spaces apart.

    :param right: numbers of the columns that are flush right.
    """
    rows, right = list(rows), frozenset(right)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        '  '.join(
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(
                zip(row, widths, strict=True)
            )
        ).rstrip()
        for row in rows
    ]
