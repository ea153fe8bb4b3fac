# SPDX-License-Identifier: Apache-2.0
"""Writing to files of sysfs, and what it means that the kernel refuses."""

from __future__ import annotations

import errno
import os
import pathlib

from kuryr_sriov import exceptions, model
from kuryr_sriov.host import errnos, pci_functions

REMEDIES = {
    errno.ENODEV: 'the driver does not support this device',
    errno.EACCES: 'run as root',
    errno.EPERM: 'run as root',
    errno.EROFS: 'mount /sys read-write into this container',
    errno.EINVAL: 'see the kernel log; vfio-pci needs an IOMMU, or vfio '
    'loaded with enable_unsafe_noiommu_mode=1',
}


def put_text(path: pathlib.Path, text: str) -> None:
    """Write to a file of sysfs, in one system call.

    :raises OSError: the kernel refused.
    """
    # Without O_CREAT: sysfs answers that with EACCES for a file that is
    # not there, which hides why.
    file = os.open(path, os.O_WRONLY)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


def map_write_error(
    error: OSError, path: pathlib.Path, text: str, bus: pathlib.Path
) -> exceptions.KuryrSriovError:
    """The library's error for the kernel's.

    :param bus: the folder of the PCI bus.
    """
    folder = path.parent.name
    pci = folder if model.PCI_ADDRESS.match(folder) else text
    number = error.errno or errno.EIO
    if not (bus / 'devices' / pci).exists():
        return pci_functions.no_such_device(pci)
    message = f'Writing {text!r} to {path}: {os.strerror(number)}'
    if number in errnos.TRANSIENT:
        return exceptions.DeviceBusy(message)
    remedy = REMEDIES.get(number, 'see the kernel log')
    return exceptions.KernelError(f'{message}; {remedy}', number)
