# SPDX-License-Identifier: Apache-2.0
"""What the steps need from below, as they see it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from kuryr_sriov import model

Allocations = Callable[[model.Pod], Sequence[model.Device]]
"""The VFs that the kubelet has allocated to a pod."""

Locks = Callable[[Iterable[str]], AbstractContextManager[None]]
"""Holds the locks of all the PFs (or lone VFs) given by PCI address."""


class Ledger(Protocol):
    """The node's durable record; see ``host/ledger.py``."""

    @property
    def path(self) -> Path:
        """The ledger's file."""

    def save(
        self,
        attachments: Iterable[model.Attachment],
        *,
        intent: str = '',
        instead_of: Iterable[model.Attachment] = (),
    ) -> None:
        """Record all, in one transaction, if the intent still stands."""

    def remove(self, attachments: Iterable[model.Attachment]) -> None:
        """Forget all, in one transaction."""

    def all(self) -> Sequence[model.Attachment]:
        """Every record."""

    def of(
        self, container_id: str, ifname: str = ''
    ) -> Sequence[model.Attachment]:
        """A sandbox's records; with ``ifname``, only that interface's."""

    def open_intent(self, container_id: str, ifnames: Collection[str]) -> str:
        """Say that these interfaces are about to be attached."""

    def close_intent(self, token: str) -> None:
        """End an intent that came to nothing."""

    def set_aside(self, pci: str = '') -> Sequence[model.SetAside]:
        """Records that cannot be read; with ``pci``, that VF's."""

    def forget_set_aside(self, pcis: Iterable[str]) -> None:
        """Forget records that could not be read: their VFs are free again."""

    def holder(self, pci: str) -> model.Attachment | None:
        """The record that has the VF."""
