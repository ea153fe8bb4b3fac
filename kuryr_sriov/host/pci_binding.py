# SPDX-License-Identifier: Apache-2.0
"""The drivers of this node's PCI functions, changed by sysfs.

Follows the kernel's ``Documentation/ABI/testing/sysfs-bus-pci`` and
``Documentation/PCI/pci-iov-howto.rst``.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import pathlib
import threading
import time
from collections.abc import Callable

from kuryr_sriov import exceptions, model
from kuryr_sriov.host import errnos, pci_functions, wait

# Seconds to give a function back after a failed bind.
GIVE_BACK = 2.0
# Seconds after which a wait for the kernel itself is given up.
GRACE = 0.5

_REMEDIES = {
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


class Sysfs:
    """This node's PCI functions; implements ``binding.base.Pci``.

    Thread-safe, but two callers that bind one function at once are served
    in any order: the caller locks.

    :param root: where ``sys`` is mounted.
    :param put: writes a text to a file; a simulated kernel's in tests.
    :ivar functions: the functions, for those who only look.
    :ivar writes: files written so far, counted by name.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] = '/',
        put: Callable[[pathlib.Path, str], None] = put_text,
    ) -> None:
        self.functions = pci_functions.PciFunctions(root)
        self.root = self.functions.root
        self.writes: collections.Counter[str] = collections.Counter()
        self._bus = self.functions.bus
        self._put = put
        self._lock = threading.Lock()

    def device(self, pci: str) -> model.PciDevice:
        """The function as it is now."""
        return self.functions.device(pci)

    def has_assigned_mac(self, pci: str) -> bool:
        """Whether its netdev has the MAC that its driver found."""
        return self.functions.has_assigned_mac(pci)

    def wait_netdev(self, pci: str, timeout: float) -> model.PciDevice:
        """The function, once its netdev is in the node's own netns."""
        return self.functions.wait_netdev(pci, timeout)

    def bind(self, pci: str, driver: str | None, timeout: float) -> None:
        """Bind to ``driver``; to none if ``''``; None: as the kernel likes.

        If that fails, the function is given back to the driver it had.
        """
        former = pci_functions.link_target(
            self.functions.device_path(pci) / 'driver'
        )
        # The kernel refuses to bind what is bound already (bind_store).
        if driver is not None and driver == former:
            self._clear_override(pci)
            return
        if driver and not self.functions.has_driver(driver):
            raise exceptions.KernelError(
                f'{pci} cannot be bound to {driver}: this kernel has no such '
                f'PCI driver; modprobe {driver}',
                errno.ENOENT,
            )
        deadline = time.monotonic() + timeout
        self._run_in_kernel(
            pci,
            lambda: self._change_driver(pci, former, driver, deadline),
            timeout,
        )

    def reset(self, pci: str, timeout: float) -> bool:
        """Reset the function; False where it cannot be reset."""
        path = self.functions.device_path(pci) / 'reset'
        if not path.exists():
            return False
        self._run_in_kernel(pci, lambda: self._write(path, '1'), timeout)
        return True

    def _run_in_kernel(
        self, pci: str, work: Callable[[], object], timeout: float
    ) -> None:
        """Do work that may block in the kernel, one at a time per function."""
        wait.run_within(
            work,
            timeout + GRACE,
            f'the driver of {pci} to let go, or to take it; stop what still '
            f'uses the device, or see the kernel log',
            key=pci,
        )

    def _change_driver(
        self, pci: str, former: str, driver: str | None, deadline: float
    ) -> None:
        try:
            self._unbind_driver(pci, deadline)
            if not wait.time_left(deadline + GRACE - time.monotonic()):
                # Nobody waits any more, and the next one may have come.
                raise exceptions.DeviceBusy(f'{pci} was let go too late')
            self._bind_driver(pci, driver, deadline)
        except (exceptions.KernelError, exceptions.DeviceBusy):
            self._give_back(pci, former)
            raise

    def _unbind_driver(self, pci: str, deadline: float) -> None:
        link = self.functions.device_path(pci) / 'driver'
        if not pci_functions.link_target(link):
            return

        def probe() -> bool:
            driver = pci_functions.link_target(link)
            if not driver:
                return True
            try:
                # vfio-pci blocks it until nobody has the device open.
                self._write(self._bus / 'drivers' / driver / 'unbind', pci)
            except exceptions.KernelError as error:
                # Gone by itself, or no such file while it still probes.
                if error.errno not in (errno.ENODEV, errno.ENOENT):
                    raise
            return not pci_functions.link_target(link)

        wait.wait_for(
            probe,
            deadline - time.monotonic(),
            f'the driver of {pci} to let go; stop what still uses the '
            f'device, or see the kernel log',
        )

    def _bind_driver(
        self, pci: str, driver: str | None, deadline: float
    ) -> None:
        if driver is None:
            self._clear_override(pci)
            # As at boot: the first driver whose table of ids matches takes it.
            self._write(self._bus / 'drivers_probe', pci)
        elif driver:
            try:
                self._write(
                    self.functions.device_path(pci) / 'driver_override', driver
                )
                # Unlike new_id, the override is for this function alone, and
                # not for every unbound one of its kind.
                self._bind_to(pci, driver, deadline)
            finally:
                self._clear_override(pci)
        else:
            self._clear_override(pci)

    def _bind_to(self, pci: str, driver: str, deadline: float) -> None:
        path = self._bus / 'drivers' / driver / 'bind'
        link = self.functions.device_path(pci) / 'driver'

        def probe() -> bool:
            if pci_functions.link_target(link) == driver:
                return True
            try:
                self._write(path, pci)
            except exceptions.KernelError as error:
                if error.errno != errno.ENOENT:
                    raise
            return pci_functions.link_target(link) == driver

        wait.wait_for(
            probe,
            deadline - time.monotonic(),
            f'{driver} to take {pci}; see the kernel log',
        )

    def _give_back(self, pci: str, driver: str) -> None:
        """Bind the former driver again; the first error is what counts."""
        with contextlib.suppress(exceptions.KuryrSriovError):
            if driver and not self.device(pci).driver:
                self._bind_driver(pci, driver, time.monotonic() + GIVE_BACK)

    def _clear_override(self, pci: str) -> None:
        path = self.functions.device_path(pci) / 'driver_override'
        if pci_functions.read_file(path, '') not in ('', '(null)'):
            self._write(path, '\n')

    def _write(self, path: pathlib.Path, text: str) -> None:
        """Every write: counted, and its errors mapped."""
        with self._lock:
            self.writes[path.name] += 1
        try:
            self._put(path, text)
        except OSError as error:
            raise self._map_error(error, path, text) from error

    def _map_error(
        self, error: OSError, path: pathlib.Path, text: str
    ) -> exceptions.KuryrSriovError:
        folder = path.parent.name
        pci = folder if model.PCI_ADDRESS.match(folder) else text
        number = error.errno or errno.EIO
        if not (self._bus / 'devices' / pci).exists():
            return pci_functions.no_such_device(pci)
        message = f'Writing {text!r} to {path}: {os.strerror(number)}'
        if number in errnos.TRANSIENT:
            return exceptions.DeviceBusy(message)
        remedy = _REMEDIES.get(number, 'see the kernel log')
        return exceptions.KernelError(f'{message}; {remedy}', number)
