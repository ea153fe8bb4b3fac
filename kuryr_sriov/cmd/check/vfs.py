# SPDX-License-Identifier: Apache-2.0
"""Are there VFs, and can they be given to userspace?"""

from __future__ import annotations

from collections.abc import Iterator

from kuryr_sriov import model
from kuryr_sriov.binding.userspace import NOIOMMU_REMEDY, is_noiommu_allowed
from kuryr_sriov.cmd.check.findings import Result, Subject, failed, ok, warning
from kuryr_sriov.host.pci_functions import USERSPACE_DRIVERS

SUGGESTED = 8
"""VFs to create on a PF that has none, if it can have so many."""

NOIOMMU = (
    'modprobe -r vfio_pci vfio_iommu_type1 vfio',
    'modprobe vfio enable_unsafe_noiommu_mode=1',
    'modprobe vfio-pci',
)


def check_vfs(subject: Subject) -> Iterator[Result]:
    """PFs have VFs."""
    pci = subject.host.pci
    functions = pci.functions.list_all()
    counts = {f.pci: pci.functions.vf_counts(f.pci) for f in functions}
    pfs = [function for function in functions if counts[function.pci][1]]
    if not pfs:
        yield _without_pfs(functions)
    any_vfs = any(counts[pf.pci][0] for pf in pfs)
    for pf in pfs:
        number, total = counts[pf.pci]
        what = f'PF {pf.pci} ({pf.ifname or "no netdev"})'
        if number:
            yield _check_link(subject, pf, f'{what}, VFs: {number} of {total}')
        else:
            status = warning if any_vfs else failed
            yield status(
                f'{what} has no VFs, and can have {total}.',
                'If it is for pods, create some, after each boot:',
                f'echo {min(total, SUGGESTED)} > '
                f'/sys/bus/pci/devices/{pf.pci}/sriov_numvfs',
            )


def _check_link(subject: Subject, pf: model.PciDevice, what: str) -> Result:
    """VFs reach nobody while their PF has no link."""
    carrier = subject.host.pci.functions.has_carrier(pf)
    if carrier is None and pf.ifname:
        return warning(
            f'{what}. It is down, and they reach nobody.',
            'If pods use them, set it up, now and at each boot:',
            f'ip link set {pf.ifname} up',
        )
    if carrier is False:
        return warning(
            f'{what}. It has no link, and they reach nobody.',
            'If pods use them, see its cable and its switch.',
        )
    return ok(what)


def _without_pfs(functions: list[model.PciDevice]) -> Result:
    if not functions:
        return failed(
            'There is no PCI network function on this node.',
            'See lspci, and whether sys is mounted under --root.',
        )
    return warning(
        f'There is no PF on this node; other network functions: '
        f'{len(functions)}. In a VM these may be VFs that it was given; see '
        '"kuryr-sriov inventory".',
        'If this is no VM, enable SR-IOV in the firmware settings of the '
        'NIC and of the machine.',
    )


def check_userspace(subject: Subject) -> Iterator[Result]:
    """The kernel drivers for userspace are there, and VFIO can work."""
    wanted = set(subject.conf.sriov.resource_driver_mappings.values())
    # each of these needs the kernel driver of its name
    wanted &= USERSPACE_DRIVERS
    if not wanted:
        yield ok('no resource needs vfio-pci or the like')
    for driver in sorted(wanted):
        if subject.host.pci.functions.has_driver(driver):
            yield ok(f'{driver} is loaded')
        else:
            yield failed(
                f'{driver} is not loaded.',
                'Load it, now and at each boot:',
                f'modprobe {driver}',
                f'echo {driver} > /etc/modules-load.d/{driver}.conf',
            )
    if 'vfio-pci' in wanted:
        yield _check_iommu(subject)


def _check_iommu(subject: Subject) -> Result:
    pci = subject.host.pci
    if any(f.iommu_group and not f.noiommu for f in pci.functions.list_all()):
        return ok('the IOMMU is on')
    if pci.functions.noiommu_mode():
        sriov = subject.conf.sriov
        if not is_noiommu_allowed(
            sriov.allow_unsafe_noiommu,
            sriov.node_is_guest or subject.host.is_guest,
        ):
            return failed(
                'There is no IOMMU. vfio has its no-IOMMU mode on, but this '
                'node does not allow it: a pod with a VF could reach all of '
                'its memory.',
                f'Either {NOIOMMU_REMEDY}.',
            )
        return ok(
            'no-IOMMU mode: a pod with a VF can reach all memory of this '
            'node, as usual in a VM'
        )
    return failed(
        'There is no IOMMU, so that vfio-pci takes no VF.',
        'On bare metal, enable VT-d (AMD: IOMMU) in the firmware and boot '
        'with intel_iommu=on iommu=pt. In a VM without virtual IOMMU, '
        'load vfio without one:',
        *NOIOMMU,
    )
