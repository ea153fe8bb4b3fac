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
from kuryr_sriov.host import pci_functions, rdma_files, wait
from kuryr_sriov.host.sysfs_writes import map_write_error, put_text

# Seconds to give a function back after a failed bind.
GIVE_BACK = 2.0
# Seconds after which a wait for the kernel itself is given up.
GRACE = 0.5

_HANGING = (
    'the driver of {} to let go, or to take it; stop what still uses the '
    'device, or see the kernel log'
)


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

    def identify(self, pci: str) -> model.PciDevice:
        """What does not change for as long as the function is there."""
        return self.functions.identify(pci)

    def ifindex(self, pci: str) -> int:
        """Index of its netdev in the node's own netns; 0 for none."""
        return self.functions.ifindex(pci)

    def has_assigned_mac(self, pci: str) -> bool:
        """Whether its netdev has the MAC that its driver found."""
        return self.functions.has_assigned_mac(pci)

    def rdma_nodes(self, verbs: str) -> tuple[str, ...]:
        """Paths of the device nodes of a function's RDMA device."""
        return rdma_files.list_nodes(self.root, verbs)

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
            self.set_override(pci, '', timeout)
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

    def get_override(self, pci: str, timeout: float) -> str:
        """Its ``driver_override``; empty for none."""
        found: list[str] = []
        self._run_under_device_lock(
            pci, lambda: found.append(self._read_override(pci)), timeout
        )
        return found[0]

    def set_override(self, pci: str, driver: str, timeout: float) -> None:
        """Set its ``driver_override``; clear it if ``driver`` is empty."""
        self._run_under_device_lock(
            pci, lambda: self._write_override(pci, driver), timeout
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
        wait.run_within(work, timeout + GRACE, _HANGING.format(pci), key=pci)

    def _run_under_device_lock(
        self, pci: str, work: Callable[[], object], timeout: float
    ) -> None:
        """Read or write an override: short, if nobody has the device's lock.

        A driver that is being bound or unbound holds it
        (driver_override_show).
        """
        wait.run_here_within(
            work, timeout + GRACE, _HANGING.format(pci), key=pci
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
            self._write_override(pci, '')
            # As at boot: the first driver whose table of ids matches takes it.
            self._write(self._bus / 'drivers_probe', pci)
        elif driver:
            try:
                self._write(self._override_path(pci), driver)
                # Unlike new_id, the override is for this function alone, and
                # not for every unbound one of its kind.
                self._bind_to(pci, driver, deadline)
            finally:
                self._write_override(pci, '')
        else:
            self._write_override(pci, '')

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

    def _override_path(self, pci: str) -> pathlib.Path:
        return self.functions.device_path(pci) / 'driver_override'

    def _read_override(self, pci: str) -> str:
        text = pci_functions.read_file(self._override_path(pci), '')
        # What printf makes of a null pointer, which is no override.
        return '' if text == '(null)' else text

    def _write_override(self, pci: str, driver: str) -> None:
        if self._read_override(pci) != driver:
            # An empty text would be no write at all.
            self._write(self._override_path(pci), driver or '\n')

    def _write(self, path: pathlib.Path, text: str) -> None:
        """Every write: counted, and its errors mapped."""
        with self._lock:
            self.writes[path.name] += 1
        try:
            self._put(path, text)
        except OSError as error:
            raise map_write_error(error, path, text, self._bus) from error
