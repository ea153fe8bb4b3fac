# SPDX-License-Identifier: Apache-2.0
"""Neutron: configuration, agents' VFs, and the networks of the how-to."""

from __future__ import annotations

import json
import os
import pathlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from servers import ReservedPort, Server, wait_for

CONFIGURATION = """\
[DEFAULT]
auth_strategy = keystone
core_plugin = ml2
service_plugins = qos
host = controller
state_path = {folder}
api_paste_config = {folder}/api-paste.ini
transport_url = fake://
dns_domain = example.org.
global_physnet_mtu = 9000
pagination_max_limit = 3
notify_nova_on_port_status_changes = false
notify_nova_on_port_data_changes = false
[database]
connection = sqlite:///{folder}/neutron.sqlite?cached_statements=2000
sqlite_synchronous = false
[oslo_concurrency]
lock_path = {folder}/lock
[ml2]
type_drivers = flat,vlan,vxlan
project_network_types = vlan
mechanism_drivers = sriovnicswitch
extension_drivers = {extensions}
[ml2_type_vlan]
network_vlan_ranges = physnet22:1:4094,physnet23:1:4094
[ml2_type_flat]
flat_networks = *
[ml2_type_vxlan]
vni_ranges = 1:100
[AGENT]
report_interval = 10
polling_interval = 1
[quotas]
quota_port = -1
[keystone_authtoken]
auth_url = {keystone}
www_authenticate_uri = {keystone}
auth_type = password
username = neutron
password = neutron-pw
project_name = service
user_domain_name = Default
project_domain_name = Default
region_name = RegionOne
service_token_roles_required = true
"""

EXTENSIONS = (
    'port_security',
    'qos',
    'uplink_status_propagation',
    'tag_ports_during_bulk_creation',
)

AGENTS = (
    'node-1:physnet22=ens1f0,physnet23=ens1f1',
    'node-2:physnet22=ens1f0',
    'node1:physnet22=ens6,physnet23=ens8',
    'node-dead:physnet22=ens1f0,physnet23=ens1f1!',
)

REMOTE = pathlib.Path(__file__).parent / 'remote'


class Neutron:
    """A fresh Neutron in ``folder``; restarts keep its database."""

    def __init__(
        self,
        python: pathlib.Path,
        folder: pathlib.Path,
        port: ReservedPort,
        keystone: str,
        env: dict[str, str],
    ) -> None:
        folder.mkdir()
        self.folder = folder
        self.url = port.url
        self._keystone = keystone
        self.configure(EXTENSIONS)
        paste = python.parent.parent / 'etc/neutron/api-paste.ini'
        text = re.sub(
            r'(?m)^(disable_by_file_path = ).*',
            rf'\g<1>{folder}/disabled',
            paste.read_text(),
        )
        (folder / 'api-paste.ini').write_text(text)
        script = REMOTE / 'serve_neutron.py'
        self.server = Server(
            'neutron',
            [python, script, folder, str(port.number), *AGENTS],
            env,
            folder / 'neutron.log',
            f'{self.url}/',
        )

    @contextmanager
    def second_worker(self) -> Iterator[None]:
        """Serve the same port by a second process, on the other core."""
        worker = Server(
            'second neutron',
            self.server.command[:4],
            self.server.env,
            self.folder / 'worker.log',
            self.server.ready,
        )
        worker.launch()
        try:
            mark = self.folder / f'listening-{worker.pid}'
            wait_for(mark.exists, 60, 'the second worker')
            yield
        finally:
            worker.stop()

    def configure(self, extensions: tuple[str, ...]) -> None:
        """Write neutron.conf; counts from the next start."""
        (self.folder / 'neutron.conf').write_text(
            CONFIGURATION.format(
                folder=self.folder,
                keystone=self._keystone,
                extensions=','.join(extensions),
            )
        )

    def set_vfs(self, vfs: dict[str, list[dict[str, str]]]) -> None:
        """Say which VFs are in use on each host, as the agents see it."""
        path = self.folder / 'vfs.json'
        new = path.with_suffix('.new')
        new.write_text(json.dumps(vfs))
        os.replace(new, path)

    def forget_heartbeat(self, host: str) -> None:
        """Make the agent of ``host`` look dead, until it reports again.

        The one of ``node-dead`` reports once after each start.
        """
        self._set_heartbeat(host, datetime(2020, 1, 1))

    def renew_heartbeat(self, host: str) -> None:
        """Make the agent of ``host`` look alive for a minute."""
        self._set_heartbeat(host, datetime.now(UTC))

    def _set_heartbeat(self, host: str, when: datetime) -> None:
        path = self.folder / 'neutron.sqlite'
        with sqlite3.connect(path, timeout=30) as database:
            database.execute(
                'UPDATE agents SET heartbeat_timestamp = ? WHERE host = ?',
                (f'{when:%Y-%m-%d %H:%M:%S.%f}', host),
            )
        database.close()


@dataclass(frozen=True)
class Network:
    """A provider network with one IPv4 subnet, made by the administrator."""

    id: str
    subnet: str
    physnet: str
    vlan: int


def make_network(
    cloud: Any, physnet: str, vlan: int, cidr: str, **more: Any
) -> Network:
    """One of the networks of the how-to's first step."""
    values = {
        'name': f'vlan-sriov-{vlan}',
        'is_shared': True,
        'provider_physical_network': physnet,
        'provider_network_type': 'vlan',
        'provider_segmentation_id': vlan,
        'mtu': 1500,
    }
    wanted = {k: v for k, v in (values | more).items() if v is not None}
    network = cloud.network.create_network(**wanted)
    subnet = cloud.network.create_subnet(
        network_id=network.id,
        ip_version=4,
        cidr=cidr,
        name=f'vlan-sriov-subnet-{vlan}',
        is_dhcp_enabled=False,
    )
    return Network(network.id, subnet.id, physnet, vlan)
