# SPDX-License-Identifier: Apache-2.0
"""The contract of binding drivers: what puts a VF into a pod.

A driver is an entry point in ``kuryr_sriov.binding_drivers``; the operator
chooses it by that name in ``[sriov] resource_driver_mappings``.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from kuryr_sriov import exceptions

if TYPE_CHECKING:
    from kuryr_sriov import model


class Pci(Protocol):
    """This node's PCI functions, by sysfs.

    :raises DeviceMissing: from every method, for an unknown address.
    :raises KernelError: the kernel refused a write.
    :raises DeviceBusy: it did not come to rest in ``timeout`` seconds.
    """

    def device(self, pci: str) -> model.PciDevice:
        """The function as it is now."""

    def identify(self, pci: str) -> model.PciDevice:
        """What does not change for as long as the function is there.

        Much cheaper than ``device``. Its driver, netdev, group and RDMA
        device are left out.
        """

    def ifindex(self, pci: str) -> int:
        """Index of its netdev in the node's own netns; 0 for none."""

    def bind(self, pci: str, driver: str | None, timeout: float) -> None:
        """Bind to ``driver``; to none if ``''``; None: as the kernel likes.

        ``driver_override`` is empty afterwards, whatever happens.
        """

    def get_override(self, pci: str, timeout: float) -> str:
        """Its ``driver_override``; empty for none."""

    def set_override(self, pci: str, driver: str, timeout: float) -> None:
        """Set its ``driver_override``; clear it if ``driver`` is empty.

        It has no effect on the driver that the function has.
        """

    def has_assigned_mac(self, pci: str) -> bool:
        """Whether its netdev has the MAC that its driver found.

        Not one that somebody has set since, or that the driver made up.
        """

    def reset(self, pci: str, timeout: float) -> bool:
        """Reset the function; False where it cannot be reset.

        No program may be using it.
        """

    def rdma_nodes(self, verbs: str) -> tuple[str, ...]:
        """Paths of the device nodes of a function's RDMA device.

        :param verbs: as ``PciDevice`` has it.
        """

    def wait_netdev(self, pci: str, timeout: float) -> model.PciDevice:
        """The function, once its netdev is in the node's own netns."""


class Links(Protocol):
    """Network interfaces, by rtnetlink; each method is one request.

    ``netns`` is a path, or ``''`` for the node's own.

    :raises KernelError: the kernel refused.
    :raises DeviceBusy: it still said EBUSY after a bounded time.
    """

    def alive(self, netns: str) -> bool:
        """Whether there is a network namespace at that path (no request)."""

    def identify(self, netns: str) -> str:
        """What identifies the namespace at that path (no request).

        :raises KernelError: ENOENT: there is none.
        """

    def find(self, pci: str, netns: str) -> model.Link | None:
        """The interface of a PCI function in ``netns``, by any name."""

    def get(self, index: int, netns: str = '') -> model.Link:
        """The interface with that index."""

    def set(
        self,
        index: int,
        netns: str = '',
        *,
        to: str | None = None,
        name: str = '',
        mac: str = '',
        mtu: int = 0,
        alias: str | None = None,
        up: bool | None = None,
    ) -> None:
        """Change all that is given, moving it to the netns ``to`` first.

        On an error some of it may be done; a move is not tried again where
        the kernel is busy, for the interface may have left.
        """

    def remove_altname(self, index: int, name: str) -> bool:
        """Remove an alternative name; False where it has no such one."""

    def pf(self, index: int) -> model.PfLink:
        """A PF's interface, and what it holds for each of its VFs."""

    def set_vf(
        self, pf_index: int, vf_index: int, settings: model.VfSettings
    ) -> None:
        """Set what is not None; on an error some of it may be set."""

    def addresses(self, index: int, netns: str) -> Sequence[str]:
        """Global addresses of the interface, with prefix."""

    def add_address(self, index: int, address: str, netns: str) -> None:
        """Add an address (with prefix), usable at once; no DAD."""

    def routes(self, index: int, netns: str) -> Sequence[model.Route]:
        """Routes through the interface, but for the on-link prefixes."""

    def add_route(self, index: int, route: model.Route, netns: str) -> None:
        """Add a route through the interface."""

    def announce(
        self, index: int, addresses: Sequence[str], netns: str
    ) -> None:
        """Tell the neighbours: gratuitous ARP, or unsolicited NA.

        It waits for a carrier, once for all addresses.
        """


class Rdma(Protocol):
    """RDMA devices, by the kernel's RDMA netlink; each method one request.

    ``netns`` is a path, or ``''`` for the node's own. Errors are those of
    ``Links``.
    """

    def is_exclusive(self) -> bool:
        """Whether an RDMA device is in one network namespace alone.

        Else each is in all of them, and none can be moved.
        """

    def find_rdma(self, name: str, netns: str) -> int | None:
        """Index of the device with that name, if it is in ``netns``."""

    def move_rdma(self, index: int, netns: str, to: str) -> None:
        """Move a device from one network namespace to another."""

    def rename_rdma(self, index: int, name: str) -> None:
        """Rename a device, in the node's own network namespace."""


class Host(Protocol):
    """This node, as binding drivers reach it."""

    @property
    def pci(self) -> Pci:
        """PCI functions."""

    @property
    def links(self) -> Links:
        """Network interfaces."""

    @property
    def rdma(self) -> Rdma:
        """RDMA devices."""

    @property
    def is_guest(self) -> bool:
        """Whether it is a virtual machine, whose VFs have no PF here."""


class BindingDriver(abc.ABC):
    """Puts a VF into a pod, and back as it was.

    The caller holds the lock of the VF's PF during every call but
    ``announce``, ``check`` and ``device_info``.

    :cvar contract: the version it was written for; see ``plugins``.
    :cvar group: section of kuryr.conf that is passed in as ``conf``.
    :cvar options: oslo.config options of that section, if the driver
        brings its own.
    :param name: entry-point name it was chosen by.
    :param conf: that section of kuryr.conf.
    :ivar device_timeout: seconds that each wait may take: that of the
        section, or else that of ``[sriov]``.
    """

    contract: ClassVar[int]
    group: ClassVar[str] = 'sriov'
    options: ClassVar[Sequence[Any]] = ()
    device_timeout: float = 10.0

    def __init__(self, name: str, host: Host, conf: Any) -> None:
        self.name = name
        self.host = host
        self.conf = conf
        if hasattr(conf, 'device_timeout'):
            self.device_timeout = conf.device_timeout

    @abc.abstractmethod
    def snapshot(self, pci: str) -> model.VfState:
        """The VF's state before the first change; changes nothing.

        :raises DeviceMissing: there is no such VF, or it is a PF.
        :raises DeviceBusy: its driver has not made its netdev yet.
        """

    @abc.abstractmethod
    def connect(self, attachment: model.Attachment) -> None:
        """Give the VF to the sandbox; the ledger has the original state.

        Each setting is read back. On an error the caller calls
        ``disconnect``.

        :raises UnsupportedSetting: the NIC cannot do what the VIF asks for.
        """

    def announce(  # noqa: B027 (not all have something to tell)
        self, attachment: model.Attachment
    ) -> None:
        """Tell the neighbours where the pod's addresses are; optional.

        Called once the VF is connected and on record. It may wait for a
        carrier. An error is logged, and the pod starts all the same.
        """

    def change_settings(
        self, attachment: model.Attachment, vif: model.Vif
    ) -> None:
        """Have the PF hold the settings of ``vif`` while the pod runs.

        Those of ``model.CHANGEABLE``, and no other: None stands for what the
        VF had before it was attached. Idempotent, whatever of them the PF
        holds already. On an error it holds what it held before. Optional.

        :raises UnsupportedSetting: the NIC cannot do it.
        """
        raise exceptions.UnsupportedSetting(
            f'{vif.ifname}: binding driver {self.name} cannot change a VF '
            'while its pod runs; recreate the pod',
            'driver',
        )

    @abc.abstractmethod
    def disconnect(self, attachment: model.Attachment) -> None:
        """Restore ``attachment.original``.

        Idempotent. Works after any part of ``connect``, wherever the VF
        is by now, and when its netns is gone. Nothing that the pod did to
        its netdev stays. A VF that no longer exists counts as restored.

        :raises Owed: all was tried, and something is left.
        """

    @abc.abstractmethod
    def check(self, attachment: model.Attachment) -> None:
        """Compare the VF with what was attached; changes nothing.

        :raises Drifted: naming each difference.
        """

    @abc.abstractmethod
    def device_info(self, attachment: model.Attachment) -> model.DeviceInfo:
        """What the pod needs to know of its device."""
