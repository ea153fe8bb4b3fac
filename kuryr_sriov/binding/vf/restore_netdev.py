# SPDX-License-Identifier: Apache-2.0
"""What a VF's netdev had before its pod, given back to it."""

from __future__ import annotations

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding import base
from kuryr_sriov.binding.vf import rename


def list_leftovers(link: model.Link, original: model.VfState) -> list[str]:
    """Names of what somebody has left on a netdev that no request restores.

    Nothing for a record of a release that did not record traits.
    """
    if not original.traits:
        return []
    differing = set(link.traits) ^ set(original.traits)
    return sorted({trait.partition('=')[0] for trait in differing})


def remove_altnames(
    links: base.Links, link: model.Link, original: model.VfState
) -> None:
    """Remove those that the pod gave it; the others are udev's.

    udev gives it its own names again, and may make the name that it is
    to have an alternative one for a moment.
    """
    ours = {*original.altnames, original.ifname}
    for name in sorted(set(link.altnames) - ours):
        links.remove_altname(link.index, name)


def restored_at_once(
    links: base.Links, link: model.Link, original: model.VfState
) -> bool:
    """Restore it in one request, before udev names it, if that works."""
    if link.up:  # most drivers refuse a MAC then
        return False
    # A hypervisor's agent looks at each MAC that its guest's VF sets.
    lone = original.settings is None
    try:
        links.set(
            link.index,
            mac='' if lone and link.mac == original.mac else original.mac,
            mtu=original.mtu,
            name=original.ifname,
            alias=original.alias,
            up=original.up,
        )
    except (exceptions.KernelError, exceptions.DeviceBusy):
        return False
    return True


def restore_one_by_one(
    links: base.Links,
    link: model.Link,
    original: model.VfState,
    timeout: float,
) -> str:
    """Restore it, but for its MAC; return what is owed.

    :param timeout: seconds for udev to be done with it.
    """
    name = link.name
    if name != original.ifname:
        if link.up:  # before Linux 6.2 none is renamed then (EBUSY)
            links.set(link.index, up=False)
        name = rename.rename_link(links, link, original.ifname, timeout)
    # It may be down for its name, or for its MAC, which was set before.
    links.set(
        link.index, mtu=original.mtu, alias=original.alias, up=original.up
    )
    if name == original.ifname:
        return ''
    # Another pod may have called its VF so: then the name is free once that
    # VF is home.
    return (
        f'{link.pci} is {name}, for another interface has its name '
        f'{original.ifname}; rename that one'
    )
