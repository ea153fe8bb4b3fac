# SPDX-License-Identifier: Apache-2.0
"""Which name was probably meant by one that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

SIMILAR = 0.8
"""How alike names are (``difflib`` ratio) before one is taken for the other.

``sriov`` and ``Sriov`` are, ``sriov_local`` and ``local`` are not.
"""


def most_similar(name: str, known: Iterable[str]) -> str:
    """The known name that was probably meant; empty for none.

    ``port_security`` is taken for ``portSecurity``: Neutron writes the one,
    Kubernetes the other.
    """
    plain = {_without_style(each): each for each in known}
    found = difflib.get_close_matches(_without_style(name), plain, 1, SIMILAR)
    return plain[found[0]] if found else ''


def most_alike(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known names that are most like it, however little.

    One with the same first label comes first: a host with its domain and
    without.
    """

    def rank(each: str) -> tuple[bool, float, str]:
        ratio = difflib.SequenceMatcher(None, name, each).ratio()
        return _first_label(each) != _first_label(name), -ratio, each

    return sorted(known, key=rank)[:count]


def _first_label(name: str) -> str:
    return name.lower().partition('.')[0]


def _without_style(name: str) -> str:
    return name.lower().replace('_', '')
