# SPDX-License-Identifier: Apache-2.0
"""Records of the ledger whose VFs nothing will give back by itself."""

from __future__ import annotations

from typing import Any

from kuryr_sriov import model


def why_stuck(host: Any, record: model.Attachment) -> str:
    """Why the record is stale or owed; '' for neither.

    The conditions are those of ``Node.reconcile``.
    """
    if record.owed:
        return f'owed: {record.owed}'
    if record.boot_id != host.boot_id():
        return 'attached before the last boot'
    if not host.links.alive(record.sandbox.netns):
        return f'there is no network namespace {record.sandbox.netns}'
    if not record.done:
        return 'not complete; it is being attached, or that was killed'
    return ''


def describe_record(record: model.Attachment) -> str:
    """Which VF, interface and pod it is about."""
    return f'VF {record.pci}, {record.vif.ifname} of pod {record.sandbox.pod}'


def describe_set_aside(record: model.SetAside) -> str:
    """What a record that cannot be read is about, and why it cannot."""
    return (
        f'VF {record.pci}, {record.ifname} of sandbox {record.container_id}: '
        f'the record cannot be read ({record.reason}); the VF is given to '
        'nobody until the next boot'
    )
