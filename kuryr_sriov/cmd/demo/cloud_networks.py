# SPDX-License-Identifier: Apache-2.0
"""The how-to's networks, as a real Neutron has them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kuryr_sriov import exceptions
from kuryr_sriov.clients import neutron
from kuryr_sriov.cmd.demo import howto_files
from kuryr_sriov.config import loading
from kuryr_sriov.drivers.neutron import NeutronVIFDriver

CLUSTER = 'kuryr-sriov-demo'
PHYSNETS = ('physnet22', 'physnet23')


@dataclass(frozen=True, slots=True)
class Cloud:
    """What the how-to needs of a cloud.

    :param subnets: ids, one for each network of the pod.
    :param conf: file that makes kuryr.conf use this cloud.
    """

    subnets: Sequence[str]
    conf: Path

    def adapted(self, files: howto_files.HowTo) -> howto_files.HowTo:
        """The how-to, with the cloud's subnets in its NADs."""
        nads = {}
        for (key, nad), subnet in zip(
            files.nads.items(), self.subnets, strict=True
        ):
            annotation = json.dumps(
                {'driverType': 'sriov', 'subnetId': subnet}
            )
            annotations = {'openstack.org/kuryr-config': annotation}
            metadata = {**nad['metadata'], 'annotations': annotations}
            nads[key] = {**nad, 'metadata': metadata}
        return dataclasses.replace(files, nads=nads)


def read_cloud(name: str, subnets: Sequence[str], folder: Path) -> Cloud:
    """Look the subnets up.

    :param subnets: names or ids, one for each network of the pod.
    :param folder: where the configuration file is written.
    :raises ConfigurationError: one is not there, or there are two.
    """
    file = folder / 'cloud.conf'
    neutron_section = f'[neutron]\ncloud = {name}\ncluster = {CLUSTER}\n'
    file.write_text(neutron_section)
    conf = loading.load_config(files=[str(file)])
    client = neutron.NeutronClient(
        loading.read_section(conf, NeutronVIFDriver)
    )
    try:
        ids = [
            _find_subnet_id(client, subnet.strip(), name) for subnet in subnets
        ]
    finally:
        client.close()
    if len(ids) != len(PHYSNETS):
        raise exceptions.ConfigurationError(
            [f"--subnets: the how-to's pod has 2 networks, not {len(ids)}"]
        )
    pairs = zip(PHYSNETS, ids, strict=True)
    defaults = ','.join(f'{physnet}:{id}' for physnet, id in pairs)
    file.write_text(
        f'{neutron_section}[sriov]\nvif_driver = neutron\n'
        f'default_physnet_subnets = {defaults}\n'
    )
    return Cloud(ids, file)


def _find_subnet_id(
    client: neutron.NeutronClient, subnet: str, cloud: str
) -> str:
    found = client.find('subnets', subnet)
    if len(found) == 1:
        return str(found[0]['id'])
    raise exceptions.ConfigurationError(
        [
            f'cloud {cloud} has {len(found)} subnets {subnet!r}; make the '
            "how-to's networks there (its first step), or name one subnet "
            'for each network with --subnets'
        ]
    )
