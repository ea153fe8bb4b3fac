# SPDX-License-Identifier: Apache-2.0
"""Which VIF gets which of the VFs that the kubelet allocated to the pod."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from kuryr_sriov import exceptions, model


def pair(
    vifs: Sequence[model.Vif],
    devices: Iterable[model.Device],
    taken: Mapping[str, str] | None = None,
    busy: Collection[str] = (),
    networks: Mapping[str, str] | None = None,
) -> tuple[tuple[model.Vif, str], ...]:
    """Each VIF with the PCI address of a VF of its resource.

    A VIF keeps the VF on record while the kubelet still allocates that one;
    then each of the others, in turn, gets the first free VF of its resource.
    The order of ``devices`` does not matter: the kubelet's is random.
    Devices of other resources, on PCI or not, are left alone.

    :param vifs: of one sandbox; their interface names differ.
    :param taken: the sandbox's VFs on record, by interface name.
    :param busy: VFs that the sandbox's other interfaces use.
    :param networks: the network that a VF is on already, as in a VM, by PCI
        address. A VIF that names its network gets no VF of another one.
    :raises NotAllocated: a resource has too few VFs.
    """
    taken = taken or {}
    names = {vif.ifname for vif in vifs}
    busy = {*busy, *(pci for name, pci in taken.items() if name not in names)}
    allocated = sorted(set(devices), key=lambda device: device.pci)
    free = [
        device
        for device in allocated
        if device.pci not in busy and model.PCI_ADDRESS.fullmatch(device.pci)
    ]
    chosen: dict[str, str] = {}
    networks = networks or {}

    def fits(vif: model.Vif, device: model.Device) -> bool:
        return device.resource == vif.resource and (
            not vif.provider_network
            or networks.get(device.pci) == vif.provider_network
        )

    def choose(vif: model.Vif, device: model.Device) -> None:
        chosen[vif.ifname] = device.pci
        free[:] = [other for other in free if other.pci != device.pci]

    for vif in vifs:
        kept = model.Device(vif.resource, taken.get(vif.ifname, ''))
        if kept in free and fits(vif, kept):
            choose(vif, kept)
    for vif in vifs:
        if vif.ifname not in chosen:
            device = next((d for d in free if fits(vif, d)), None)
            if device is None and vif.provider_network:
                raise _on_no_such_network(vif, allocated, busy, networks)
            if device is None:
                raise _too_few(vif.resource, vifs, allocated, busy)
            choose(vif, device)
    return tuple((vif, chosen[vif.ifname]) for vif in vifs)


def _too_few(
    resource: str,
    vifs: Sequence[model.Vif],
    allocated: Sequence[model.Device],
    busy: Collection[str],
) -> exceptions.NotAllocated:
    names = [vif.ifname for vif in vifs if vif.resource == resource]
    ids = [device.pci for device in allocated if device.resource == resource]
    foreign = [id_ for id_ in ids if not model.PCI_ADDRESS.fullmatch(id_)]
    used = [id_ for id_ in ids if id_ in busy]
    message = (
        f'{_join_words(names)} need {len(names)} of {resource}, but the '
        f'kubelet allocated {len(ids)} to the pod'
    )
    if used:
        message += f', and other interfaces of it use {_join_words(used)}'
    if foreign:
        message += (
            f', and {_join_words(foreign)} is no PCI address: the device '
            f'plugin must offer nothing but VFs as {resource}'
        )
    return exceptions.NotAllocated(
        f"{message}; the pod's containers must request one {resource} for "
        'each of its networks on that resource'
    )


def _on_no_such_network(
    vif: model.Vif,
    allocated: Sequence[model.Device],
    busy: Collection[str],
    networks: Mapping[str, str],
) -> exceptions.NotAllocated:
    """The VFs are ports of other networks, or too few of that one."""
    found = [
        f'{device.pci} is on network {networks.get(device.pci, "unknown")}'
        + (', and another interface has it' if device.pci in busy else '')
        for device in allocated
        if device.resource == vif.resource
    ]
    return exceptions.NotAllocated(
        f'{vif.ifname} ({vif.network}) needs a VF on network '
        f'{vif.provider_network}, but of those that the kubelet allocated as '
        f'{vif.resource} {"; ".join(found) or "there is none"}; give the VFs '
        "of each network a resource of their own in the device plugin's "
        'configuration, and recreate the pod'
    )


def _join_words(words: Iterable[str]) -> str:
    return ', '.join(words)
