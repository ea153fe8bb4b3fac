# SPDX-License-Identifier: Apache-2.0
"""The how-to's files, and the node they describe."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kuryr_sriov import exceptions
from kuryr_sriov.config import loading, yaml_file
from kuryr_sriov.testing.simulation.simulated_node import Pf

NODE = 'node1'
NAMESPACE = 'default'
VFS = 8
# What the how-to calls the PFs at these addresses.
IFNAMES = {'0000:02:00.0': 'ens6', '0000:02:00.1': 'ens8'}


@dataclass(frozen=True, slots=True)
class HowTo:
    """The files of ``examples/howto``, read.

    :param pools: PFs by resource (no prefix), from the device plugin's file.
    """

    folder: Path
    nads: Mapping[tuple[str, str], Mapping[str, Any]]
    pod: Mapping[str, Any]
    pools: Mapping[str, Sequence[str]]

    def get_nad(self, namespace: str, name: str) -> Mapping[str, Any]:
        """As the API server would answer."""
        try:
            return self.nads[namespace, name]
        except KeyError:
            raise exceptions.InvalidAnnotation(
                f'there is no NetworkAttachmentDefinition {namespace}/{name} '
                f'in {self.folder}; add it, or correct the annotation'
            ) from None

    def pfs(self) -> tuple[Pf, ...]:
        """The node's PFs, as the how-to has them."""
        addresses = [pf for pool in self.pools.values() for pf in pool]
        return tuple(
            Pf(pci, IFNAMES.get(pci, f'ens{9 + number}'), vfs=VFS)
            for number, pci in enumerate(addresses)
        )

    def requests(self) -> dict[str, int]:
        """The extended resources that the pod's containers ask for."""
        wanted: dict[str, int] = {}
        for container in self.pod['spec']['containers']:
            for name, number in container['resources']['requests'].items():
                if '/' in name:
                    wanted[name] = wanted.get(name, 0) + int(number)
        return wanted

    def conf(self, state: Path, *more: Path) -> Any:
        """The how-to's kuryr.conf, with all that is written in ``state``.

        :param more: configuration files that override it.
        """
        own = state / 'demo.conf'
        own.write_text(
            '[sriov]\n'
            f'state_dir = {state}\n'
            # short, for the sake of its socket (unix(7): 108 bytes)
            f'kubelet_root_dir = {state}/kube\n'
            '[sriov_local]\n'
            f'database = {state}/local.sqlite\n'
            f'subnets_file = {self.folder / "subnets.yaml"}\n'
        )
        files = (self.folder / 'kuryr.conf', own, *more)
        return loading.load_config(files=[str(file) for file in files])


def default_folder() -> Path:
    """Where the files are: in a checkout, or as the package installed them."""
    checkout = Path(__file__).parents[3] / 'examples' / 'howto'
    installed = Path(sys.prefix) / 'share' / 'kuryr-sriov' / 'howto'
    return checkout if checkout.is_dir() else installed


def read_howto(folder: Path, node: str = NODE) -> HowTo:
    """Read all files.

    :param node: where the pod is scheduled.
    :raises ConfigurationError: one is missing or not what it should be.
    """
    try:
        nads = [
            yaml_file.read_yaml(path)
            for path in sorted(folder.glob('sriov-net*.yaml'))
        ]
        deployment = yaml_file.read_yaml(folder / 'deployment.yaml')
        plugin = json.loads((folder / 'device-plugin.json').read_text())
        return HowTo(
            folder,
            {(NAMESPACE, nad['metadata']['name']): nad for nad in nads},
            _make_pod(deployment, node),
            {
                pool['resourceName']: pool['selectors']['rootDevices']
                for pool in plugin['resourceList']
            },
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise exceptions.ConfigurationError(
            [
                f'{folder}: the files of the how-to cannot be read '
                f'({type(error).__name__}: {error}); name their folder with '
                '--files'
            ]
        ) from error


def _make_pod(deployment: Mapping[str, Any], node: str) -> Mapping[str, Any]:
    """The pod that the Deployment's controller would make."""
    template = deployment['spec']['template']
    name = deployment['metadata']['name']
    metadata = {
        **template['metadata'],
        'name': f'{name}-7c5ddbdf54-x2x9v',
        'namespace': NAMESPACE,
        'uid': str(uuid.uuid4()),
    }
    spec = {**template['spec'], 'nodeName': node}
    return {'metadata': metadata, 'spec': spec}
