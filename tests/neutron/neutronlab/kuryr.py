# SPDX-License-Identifier: Apache-2.0
"""The library's side of the lab: kuryr.conf, requests and locations."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

from kuryr_sriov import model
from kuryr_sriov.config import loading
from kuryr_sriov.drivers.neutron import NeutronVIFDriver
from kuryr_sriov.handlers.orphans import OrphanCollector

from .lab import PROXIED, Lab
from .neutron import Network

CLUSTER = 'blue'

MakeDriver = Callable[..., NeutronVIFDriver]
"""Takes options of ``[neutron]``, ``user``, ``region``, and a ``uid``."""


def write_conf(
    lab: Lab,
    path: pathlib.Path,
    user: str = 'kuryr',
    region: str = PROXIED,
    **more: Any,
) -> None:
    """A kuryr.conf for the lab's Neutron.

    :param more: options of ``[neutron]``; None leaves one out.
    """
    options: dict[str, Any] = {
        'auth_type': 'password',
        **lab.auth(user),
        'region_name': region,
        'cluster': CLUSTER,
        **more,
    }
    lines = [
        f'{name} = {value}'
        for name, value in options.items()
        if value is not None
    ]
    path.write_text('\n'.join(['[neutron]', *lines, '']))


def load_driver(path: pathlib.Path, uid: str = '') -> NeutronVIFDriver:
    """The driver, as the controller makes it from that kuryr.conf.

    :param uid: of the cluster.
    """
    conf = loading.load_config(files=[str(path)])
    section = loading.read_section(conf, NeutronVIFDriver)
    return NeutronVIFDriver(section, uid)


def make_driver(
    lab: Lab, path: pathlib.Path, uid: str = '', **options: Any
) -> NeutronVIFDriver:
    """Both of the above."""
    write_conf(lab, path, **options)
    return load_driver(path, uid)


def request(
    driver: NeutronVIFDriver,
    network: Network,
    ifname: str = 'net1',
    **more: Any,
) -> model.NetworkRequest:
    """What the subnets driver makes of a NAD for that network."""
    subnet = driver.describe_subnet(network.subnet)
    # the documented user may not read it; the configuration has it
    subnet = dataclasses.replace(subnet, physnet=network.physnet)
    values: dict[str, Any] = {
        'namespace': 'default',
        'name': f'sriov-{network.physnet}',
        'ifname': ifname,
        'subnet_ids': (network.subnet,),
        'resource': f'intel.com/{network.physnet}',
        'subnets': (subnet,),
    }
    return model.NetworkRequest(**values | more)


def how_to(
    driver: NeutronVIFDriver, lab: Lab
) -> tuple[model.NetworkRequest, model.NetworkRequest]:
    """The two networks of the how-to's pod."""
    return (
        request(driver, lab.net22, 'net1'),
        request(driver, lab.net23, 'net2'),
    )


def collect(driver: NeutronVIFDriver, *alive: model.Pod) -> tuple[str, ...]:
    """Collect orphans as the controller does, without a grace period."""
    uids = {pod.uid for pod in alive}
    collector = OrphanCollector(driver, grace=0.0, limit=100.0)
    return collector.collect(lambda pod: pod.uid in uids)


def location(
    vif: model.Vif, number: int = 1, node: str = 'node-1'
) -> model.Location:
    """VF ``number`` of the PF of the VIF's physnet.

    :param number: from 0.
    """
    pf = {'physnet22': 0x02, 'physnet23': 0x03}[vif.physnet]
    bus, slot = divmod(number, 256)
    slot, function = divmod(slot, 8)
    return model.Location(
        node,
        f'0000:{pf + 4 * bus:02x}:{slot:02x}.{function}',
        '8086:10ca',
        vif.physnet,
    )
