# SPDX-License-Identifier: Apache-2.0
"""An instance's metadata, as Nova wrote it for the ports of ``nova/``.

``nova/neutron.json`` is what Neutron tells of four ports, and
``nova/network_data.json`` what Nova's own code makes of them
(``nova/describe_instance.py``).
"""

import json
from pathlib import Path

NOVA = Path(__file__).parent / 'nova'
WRITTEN = (NOVA / 'network_data.json').read_text()
LINKS = json.loads(WRITTEN)['links']
PORTS = tuple(link['vif_id'] for link in LINKS)
"""Ids of the ports: of network A, B, A, and of C, whose subnet has DHCP."""

NETWORK_A, NETWORK_B, NETWORK_C = (
    network['id']
    for network in json.loads((NOVA / 'neutron.json').read_text())['networks']
)


def with_macs(macs):
    """The text, with these MACs in place of those of the first ports."""
    text = WRITTEN
    for link, mac in zip(LINKS, macs, strict=False):
        text = text.replace(link['ethernet_mac_address'], mac)
    return text


def write_config_drive(folder, macs):
    """A mounted config drive, with these MACs; its path."""
    file = folder / 'openstack/latest/network_data.json'
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(with_macs(macs))
    return folder
