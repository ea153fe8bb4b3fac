# SPDX-License-Identifier: Apache-2.0
"""Which ports a virtual machine of Nova was given: ``network_data.json``.

Nova writes the file into the config drive before it starts the machine, and
serves it, as it is now, from the metadata service
(``nova.virt.netutils.get_network_metadata``).
"""

from __future__ import annotations

import ipaddress
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from kuryr_sriov import codec, exceptions, model
from kuryr_sriov.host import config_drive, wait

SERVICE = 'http://169.254.169.254'
FILE = 'openstack/latest/network_data.json'


@dataclass(frozen=True, slots=True)
class _Link:
    vif_id: str | None = None
    ethernet_mac_address: str | None = None
    mtu: int | None = None
    id: str = ''


@dataclass(frozen=True, slots=True)
class _Route:
    network: str
    netmask: str
    gateway: str = ''


@dataclass(frozen=True, slots=True)
class _Service:
    type: str = ''
    address: str = ''


@dataclass(frozen=True, slots=True)
class _Network:
    """A subnet of a link; without address where DHCP tells it."""

    link: str
    network_id: str
    type: str = ''
    ip_address: str = ''
    netmask: str = ''
    routes: tuple[_Route, ...] = ()
    services: tuple[_Service, ...] = ()


@dataclass(frozen=True, slots=True)
class _NetworkData:
    links: tuple[_Link, ...] = ()
    networks: tuple[_Network, ...] = ()


class InstanceMetadata:
    """This machine's metadata, read again at each call. Thread-safe.

    :param source: a folder, a block device or a URL; empty to look for the
        config drive, and then to ask the metadata service.
    :param timeout: seconds that one reading may take.
    :param label: the device that is looked for.
    """

    def __init__(
        self,
        source: str,
        timeout: float,
        label: str = config_drive.LABEL,
    ) -> None:
        self._configured = source
        self._timeout = timeout
        self._label = label

    @property
    def source(self) -> str:
        """Where it is read now."""
        if self._configured:
            return self._configured
        return self._label if Path(self._label).exists() else SERVICE

    def list_ports(self) -> tuple[model.GuestPort, ...]:
        """The machine's ports.

        :raises TransientError: the metadata cannot be read, or makes no
            sense.
        """
        source = self.source
        return parse_network_data(self._read(source), source)

    def _read(self, source: str) -> bytes:
        read: Callable[[], bytes]
        if source.startswith('http://'):
            read = _Request(source, wait.time_left(self._timeout)).read
        elif Path(source).is_dir():
            read = _bound(config_drive.read_mounted, source)
        else:
            read = _bound(config_drive.read_device, source)
        found: list[bytes] = []
        wait.run_within(
            lambda: found.append(read()),
            self._timeout,
            f'the metadata of this instance from {source}; see [sriov] '
            'instance_metadata',
            key=source,
        )
        return found[0]


def _bound(
    read: Callable[[Path, str], bytes], source: str
) -> Callable[[], bytes]:
    return lambda: read(Path(source), FILE)


@dataclass(frozen=True, slots=True)
class _Request:
    """One question to the metadata service.

    Without proxies: the address means something on this machine only.
    """

    url: str
    timeout: float

    def read(self) -> bytes:
        # Brings ssl and email with it: 15 ms that only such a machine needs.
        import http.client

        parts = urllib.parse.urlsplit(self.url)
        path = f'{parts.path.rstrip("/")}/{FILE}'
        connection = http.client.HTTPConnection(
            parts.hostname or '', parts.port, timeout=self.timeout
        )
        try:
            connection.request('GET', path)
            response = connection.getresponse()
            body = response.read(config_drive.LARGEST)
        except (OSError, http.client.HTTPException) as error:
            raise self._unavailable(error) from error
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise self._unavailable(f'{response.status} {response.reason}')
        return body

    def _unavailable(self, why: object) -> exceptions.TransientError:
        return exceptions.TransientError(
            f'the metadata service {self.url} does not tell which ports this '
            f'machine has: {why}; see whether the node reaches it, or mount '
            'the config drive and name its folder in [sriov] '
            'instance_metadata'
        )


def parse_network_data(
    text: bytes, source: str
) -> tuple[model.GuestPort, ...]:
    """The ports that a ``network_data.json`` describes.

    :param source: where it was read, for messages.
    :raises TransientError: it is no such file.
    """

    def mistake(why: object) -> exceptions.TransientError:
        return exceptions.TransientError(
            f'{FILE} of {source} cannot be understood: {why}; see whether it '
            'is what Nova wrote'
        )

    data = codec.from_json(_NetworkData, text, mistake)
    try:
        return tuple(_list_ports(data))
    except ValueError as error:
        raise mistake(error) from error


def _list_ports(data: _NetworkData) -> Iterable[model.GuestPort]:
    ids = [link.id for link in data.links]
    if len(set(ids)) < len(ids):
        raise ValueError(f'two links are called {max(ids, key=ids.count)}')
    for link in data.links:
        nets = [net for net in data.networks if net.link == link.id]
        networks = {net.network_id for net in nets}
        if not (link.vif_id and link.ethernet_mac_address and networks):
            continue  # a bond, a VLAN on one, or on no subnet
        if len(networks) > 1:
            raise ValueError(f'link {link.id} is on several networks')
        yield model.GuestPort(
            id=link.vif_id,
            mac=link.ethernet_mac_address.lower(),
            network=networks.pop(),
            addresses=tuple(_address_of(net) for net in nets if net.netmask),
            routes=tuple(
                dict.fromkeys(
                    each
                    for net in nets
                    for each in map(_route_of, net.routes)
                    if not each.destination.endswith('/0')
                )
            ),
            dns=tuple(
                dict.fromkeys(
                    service.address
                    for net in nets
                    for service in net.services
                    if service.type == 'dns'
                )
            ),
            mtu=link.mtu or 0,
            unknown=tuple(net.type for net in nets if not net.netmask),
        )


def _address_of(net: _Network) -> str:
    address = net.ip_address.partition('/')[0]
    return f'{address}/{_prefix_length(net.netmask)}'


def _route_of(route: _Route) -> model.Route:
    length = _prefix_length(route.netmask)
    return model.Route(
        str(ipaddress.ip_network(f'{route.network}/{length}')), route.gateway
    )


def _prefix_length(netmask: str) -> int:
    """Nova writes IPv6 masks as addresses, too, which Python does not read."""
    return int(ipaddress.ip_address(netmask)).bit_count()
