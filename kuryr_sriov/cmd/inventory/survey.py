# SPDX-License-Identifier: Apache-2.0
"""This node's PFs and VFs, and the pods that have them.

Nothing is changed. It works without kuryr.conf, and as any user as far as
the kernel tells that user; what could not be read is said at the end.
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from kuryr_sriov import exceptions, model
from kuryr_sriov.cmd import arguments, output
from kuryr_sriov.cmd.inventory import table
from kuryr_sriov.cmd.inventory.entries import Function, Inventory, Owner, Pf
from kuryr_sriov.host import ledger_reader

if TYPE_CHECKING:
    from kuryr_sriov.host.linux import NodeHost


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the subcommand."""
    arguments.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print it."""
    conf = arguments.load_conf(args)
    unread = []
    owners: tuple[model.Attachment, ...] = ()
    try:
        owners = ledger_reader.read_attachments(conf.sriov.state_dir)
    except exceptions.KuryrSriovError as error:
        unread.append(f'Who has which VF: {error}')
    found = take_inventory(arguments.make_host(args), owners, unread)
    if args.json:
        print(output.to_json(found))
    else:
        print(*table.lines(found, args.root), sep='\n')
    return 0


def take_inventory(
    host: NodeHost,
    attachments: Iterable[model.Attachment],
    unread: Iterable[str] = (),
) -> Inventory:
    """The inventory of a node.

    :param attachments: the ledger's records.
    :param unread: what is known to be missing from them.
    """
    return _Survey(host, attachments, unread).take_inventory()


class _Survey:
    def __init__(
        self,
        host: NodeHost,
        attachments: Iterable[model.Attachment],
        unread: Iterable[str],
    ) -> None:
        self._host = host
        self._owners = {a.pci: self._describe_owner(a) for a in attachments}
        self._unread = list(unread)

    def take_inventory(self) -> Inventory:
        functions = self._host.pci.functions.list_all()
        counts = {
            f.pci: self._host.pci.functions.vf_counts(f.pci) for f in functions
        }
        pfs = tuple(
            self._survey_pf(function, functions, *counts[function.pci])
            for function in functions
            if counts[function.pci][1]
        )
        listed = {v.device.pci for pf in pfs for v in pf.vfs}
        listed.update(pf.device.pci for pf in pfs)
        others = tuple(
            self._survey_function(function)
            for function in functions
            if function.pci not in listed
        )
        return Inventory(pfs, others, tuple(self._unread))

    def _survey_pf(
        self,
        pf: model.PciDevice,
        functions: Iterable[model.PciDevice],
        num_vfs: int,
        total_vfs: int,
    ) -> Pf:
        vfs = [function for function in functions if function.pf == pf.pci]
        vfs.sort(key=lambda vf: (vf.vf_index is None, vf.vf_index))
        settings = self._read_settings(pf, vfs)
        return Pf(
            pf,
            num_vfs,
            total_vfs,
            tuple(
                self._survey_function(vf, settings.get(vf.pci)) for vf in vfs
            ),
        )

    def _read_settings(
        self, pf: model.PciDevice, vfs: Iterable[model.PciDevice]
    ) -> Mapping[str, model.VfSettings]:
        """What the PF holds for its VFs, by their address."""
        settings: dict[str, model.VfSettings] = {}
        try:
            link = self._find_link(pf)
            held = self._host.links.pf(link.index).vfs if link and vfs else ()
            by_index = dict(enumerate(held))
            settings = {
                vf.pci: known
                for vf in vfs
                if vf.vf_index is not None
                and (known := by_index.get(vf.vf_index))
            }
        except exceptions.KuryrSriovError as error:
            self._unread.append(f'VLAN and MAC of VFs of {pf.pci}: {error}')
        else:
            if link is None and vfs:
                self._unread.append(
                    f'VLAN and MAC of the VFs of {pf.pci}: its interface is '
                    "not in this process's network namespace; run it in the "
                    "node's own"
                )
        return settings

    def _survey_function(
        self,
        function: model.PciDevice,
        settings: model.VfSettings | None = None,
    ) -> Function:
        mac = settings.mac if settings else ''
        link = self._find_link(function)
        return Function(
            device=function,
            away=self._is_away(function),
            mac=(link.mac if link else mac) or '',
            settings=settings,
            owner=self._owners.get(function.pci),
        )

    def _find_link(self, function: model.PciDevice) -> model.Link | None:
        """The interface that sysfs shows, by netlink.

        None if netlink shows another one in its place: sysfs is that of
        the process that mounted it, and may be another network namespace's.
        """
        if not function.ifindex:
            return None
        try:
            link = self._host.links.get(function.ifindex)
        except exceptions.KuryrSriovError:
            return None
        # A virtio interface hangs on a virtio device, and that on the NIC.
        ours = link.pci == function.pci or link.pci.startswith('virtio')
        return link if ours and link.name == function.ifname else None

    def _is_away(self, function: model.PciDevice) -> bool:
        """A netdev that is elsewhere leaves its folder behind, empty."""
        path = pathlib.Path(
            self._host.pci.root, 'sys/bus/pci/devices', function.pci
        )
        folders = [path / 'net', *path.glob('virtio*/net')]
        return not function.ifname and any(f.is_dir() for f in folders)

    def _describe_owner(self, attachment: model.Attachment) -> Owner:
        sandbox = attachment.sandbox
        return Owner(
            namespace=sandbox.pod.namespace,
            pod=sandbox.pod.name,
            uid=sandbox.pod.uid,
            ifname=attachment.vif.ifname,
            container_id=sandbox.container_id,
            netns=sandbox.netns,
            done=attachment.done,
            alive=self._host.links.alive(sandbox.netns),
        )
