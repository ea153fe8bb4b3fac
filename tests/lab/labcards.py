# SPDX-License-Identifier: Apache-2.0
"""The cards of the machine ``guest``, which have no PF there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from labnode import Lab, Netns, PlainFunction

LendCard = Callable[[str], PlainFunction]
MakeNetns = Callable[[], Netns]
CARDS = {'gigabit': 'e1000e', 'virtual': 'virtio-pci'}
"""The PCI driver of each."""
ONE_CARD = pytest.mark.parametrize('card', ['gigabit'], indirect=True)
"""For a test that the other card would add nothing to."""


def lend_card(lab: Lab, name: str) -> PlainFunction:
    """A card as the kernel has made it, whatever a test did before."""
    card = next(card for card in lab.plain if card.name == name)
    card.bind(CARDS[name])
    assert card.ifname
    return card
