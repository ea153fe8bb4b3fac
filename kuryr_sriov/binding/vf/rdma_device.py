# SPDX-License-Identifier: Apache-2.0
"""The RDMA device of a VF, which goes where its netdev goes.

Only where the node has RDMA devices in one network namespace each ("rdma
system set netns exclusive"). In the other mode, which is the kernel's own,
all are in all namespaces, and nothing is moved.
"""

from __future__ import annotations

import errno
import logging

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding import base
from kuryr_sriov.binding.vf import settings
from kuryr_sriov.host import wait

LOG = logging.getLogger(__name__)


def move_to_pod(
    host: base.Host, attachment: model.Attachment, timeout: float
) -> None:
    """Have it follow its netdev.

    :raises UnsupportedSetting: its driver cannot change the namespace.
    :raises DeviceBusy: there is none any more.
    """
    if attachment.original.rdma_device:
        device = wait_for_rdma(host, attachment, timeout)
    else:
        # It may have one since its driver was bound for the pod.
        device = host.pci.device(attachment.pci)
    if not (device.rdma_here and host.rdma.is_exclusive()):
        return
    index = host.rdma.find_rdma(device.rdma_device, '')
    if index is None:  # renamed meanwhile, or its driver is being unbound
        raise exceptions.DeviceBusy(
            f'{device.pci}: its RDMA device {device.rdma_device} is not there '
            'any more; see the kernel log'
        )
    try:
        host.rdma.move_rdma(index, '', attachment.sandbox.netns)
    except exceptions.KernelError as error:
        # The driver has no disassociate_ucontext (ib_device_set_netns_put).
        if error.errno != errno.EOPNOTSUPP:
            raise
        raise settings.unsupported(
            attachment.vif.ifname,
            'rdma',
            device.rdma_device,
            'its driver keeps it in the network namespace of the node; '
            '"rdma system set netns shared" shows it to all pods',
        ) from error


def wait_for_rdma(
    host: base.Host, attachment: model.Attachment, timeout: float
) -> model.PciDevice:
    """The function, once its RDMA device is there.

    A driver that was just bound may make it a little later. A device in
    software (rdma_rxe, siw) goes when the netdev does, and for good.
    """

    def probe() -> model.PciDevice | None:
        device = host.pci.device(attachment.pci)
        return device if device.rdma_device else None

    return wait.wait_for(
        probe,
        timeout,
        f'RDMA device {attachment.original.rdma_device} of {attachment.pci}, '
        'which has gone; if it is one in software, remove it from the VF '
        '("rdma link delete")',
    )


def bring_home(
    host: base.Host, attachment: model.Attachment, timeout: float
) -> None:
    """Have it in the node's own network namespace, under its own name.

    :raises DeviceBusy: it did not come.
    """
    name = attachment.original.rdma_device
    if not (name and host.rdma.is_exclusive()):
        return

    def is_home() -> bool:
        device = host.pci.device(attachment.pci)
        if device.rdma_device and not device.rdma_here:
            _move_home(host, device.rdma_device, attachment.sandbox.netns)
        return host.pci.device(attachment.pci).rdma_here

    try:
        # From a namespace that is gone the kernel brings it, a little later
        # (rdma_dev_exit_net).
        wait.wait_for(is_home, timeout, f'RDMA device {name} to come home')
    except exceptions.DeviceBusy:
        if host.pci.device(attachment.pci).rdma_device:
            raise
        LOG.warning(
            '%s has no RDMA device any more; it had %s', attachment.pci, name
        )
        return
    _restore_name(host, host.pci.device(attachment.pci).rdma_device, name)


def _move_home(host: base.Host, name: str, netns: str) -> None:
    if not host.links.alive(netns):
        return
    index = host.rdma.find_rdma(name, netns)
    if index is not None:
        host.rdma.move_rdma(index, netns, '')


def _restore_name(host: base.Host, current: str, name: str) -> None:
    index = host.rdma.find_rdma(current, '') if current != name else None
    if index is None:
        return
    try:
        host.rdma.rename_rdma(index, name)
    except exceptions.KernelError as error:
        if error.errno != errno.EEXIST:
            raise
        LOG.warning(
            'RDMA device %s keeps that name: %s is taken', current, name
        )


def list_drift(host: base.Host, attachment: model.Attachment) -> list[str]:
    """What is not as it was attached."""
    name, netns = attachment.original.rdma_device, attachment.sandbox.netns
    if not name:
        return []
    current = host.pci.device(attachment.pci).rdma_device
    if not current:
        return [f'its RDMA device {name} is gone']
    if not (host.rdma.is_exclusive() and host.links.alive(netns)):
        return []
    if host.rdma.find_rdma(current, netns) is None:
        return [f'its RDMA device {current} is not in {netns}']
    return []


def is_usable_in_pod(host: base.Host, device: model.PciDevice) -> bool:
    """Whether the pod that has the function can use its RDMA device."""
    if not device.rdma_device:
        return False
    return not (device.rdma_here and host.rdma.is_exclusive())
