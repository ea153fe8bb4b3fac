# SPDX-License-Identifier: Apache-2.0
"""The simulated node as binding drivers reach it."""

from __future__ import annotations

import collections
import errno
import pathlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

from kuryr_sriov import exceptions, model
from kuryr_sriov.host import netlink_socket, pci_binding, wait

Call = Callable[..., Any]


class SimulatedLinks:
    """Implements ``binding.base.Links``, with the errors of ``Netlink``.

    :param busy_timeout: seconds that a busy kernel is asked again.
    :ivar requests: by method, counted.
    """

    def __init__(
        self,
        call: Call,
        change: Call,
        busy_timeout: float = netlink_socket.BUSY_TIMEOUT,
    ) -> None:
        self.requests: collections.Counter[str] = collections.Counter()
        self._call = call
        self._change = change
        self._busy_timeout = busy_timeout
        self._lock = threading.Lock()

    def alive(self, netns: str) -> bool:
        return bool(self._call('alive', netns))

    def identify(self, netns: str) -> str:
        return str(self._request('identify', netns))

    def find(self, pci: str, netns: str) -> model.Link | None:
        answer: model.Link | None = self._request('find', pci, netns)
        return answer

    def get(self, index: int, netns: str = '') -> model.Link:
        answer: model.Link = self._request('get', index, netns)
        return answer

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
        self._change('set')
        self._request(
            *('set', index, netns),
            to=to,
            name=name,
            mac=mac,
            mtu=mtu,
            alias=alias,
            up=up,
            once=to is not None,
        )

    def remove_altname(self, index: int, name: str) -> bool:
        self._change('remove_altname')
        try:
            self._request('remove_altname', index, name)
        except exceptions.KernelError as error:
            if error.errno not in (errno.ENOENT, errno.EINVAL):
                raise
            return False
        return True

    def pf(self, index: int) -> model.PfLink:
        answer: model.PfLink = self._request('pf', index)
        return answer

    def set_vf(
        self, pf_index: int, vf_index: int, settings: model.VfSettings
    ) -> None:
        self._change('set_vf')
        self._request('set_vf', pf_index, vf_index, settings)

    def addresses(self, index: int, netns: str) -> Sequence[str]:
        answer: Sequence[str] = self._request('addresses', index, netns)
        return answer

    def add_address(self, index: int, address: str, netns: str) -> None:
        self._change('add_address')
        self._request('add_address', index, address, netns)

    def routes(self, index: int, netns: str) -> Sequence[model.Route]:
        answer: Sequence[model.Route] = self._request('routes', index, netns)
        return answer

    def add_route(self, index: int, route: model.Route, netns: str) -> None:
        self._change('add_route')
        self._request('add_route', index, route, netns)

    def announce(
        self, index: int, addresses: Sequence[str], netns: str
    ) -> None:
        self._change('announce')
        self._request('announce', index, addresses, netns)

    def _request(
        self,
        operation: str,
        *arguments: Any,
        once: bool = False,
        **named: Any,
    ) -> Any:
        what = f'{operation} of interface {arguments[0]}'

        def probe() -> tuple[Any]:
            with self._lock:
                self.requests[operation] += 1
            try:
                return (self._call(operation, *arguments, **named),)
            except OSError as error:
                raise netlink_socket.map_error(error, what) from error

        if once:
            return probe()[0]
        return wait.wait_for(probe, self._busy_timeout, what)[0]


class SimulatedRdma:
    """Implements ``binding.base.Rdma``, with the errors of the real one."""

    def __init__(self, call: Call, change: Call) -> None:
        self._call = call
        self._change = change

    def is_exclusive(self) -> bool:
        return bool(self._call('rdma_mode'))

    def find_rdma(self, name: str, netns: str) -> int | None:
        answer: int | None = self._request('find_rdma', name, netns)
        return answer

    def move_rdma(self, index: int, netns: str, to: str) -> None:
        self._change('move_rdma')
        self._request('move_rdma', index, netns, to)

    def rename_rdma(self, index: int, name: str) -> None:
        self._change('rename_rdma')
        self._request('rename_rdma', index, name)

    def _request(self, operation: str, *arguments: Any) -> Any:
        try:
            return self._call(operation, *arguments)
        except OSError as error:
            what = f'{operation} of {arguments[0]}'
            raise netlink_socket.map_error(error, what) from error


class SimulatedHost:
    """Implements ``binding.base.Host`` on a simulated node.

    :param call: the simulated kernel's entry.
    """

    def __init__(self, call: Call) -> None:
        self.call = call
        root = pathlib.Path(call('root'))
        self._root = root
        self.is_guest: bool = call('is_guest')
        self._hooks: list[Callable[[str], object]] = []
        # The real one, on the simulated tree.
        self.pci = pci_binding.Sysfs(root, self._put)
        self.links = SimulatedLinks(call, self._change)
        self.rdma = SimulatedRdma(call, self._change)

    def on_change(self, hook: Callable[[str], object]) -> None:
        """Call ``hook`` with the operation's name before each change."""
        self._hooks.append(hook)

    def boot_id(self) -> str:
        path = self._root / 'proc/sys/kernel/random/boot_id'
        return path.read_text().strip()

    def _put(self, path: pathlib.Path, text: str) -> None:
        self._change(path.name)
        self.call('write', str(path), text)

    def _change(self, operation: str) -> None:
        for hook in self._hooks:
            hook(operation)
