# SPDX-License-Identifier: Apache-2.0
"""Does the kubelet answer, and does it offer what is configured?"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from kuryr_sriov import exceptions, model
from kuryr_sriov.allocations import checkpoint
from kuryr_sriov.cmd import arguments
from kuryr_sriov.cmd.check.findings import (
    Result,
    Subject,
    failed,
    ok,
    skipped,
    warning,
)

Offers = Mapping[str, Collection[str]]
"""Ids of the devices that device plugins offer, by full resource name."""

NOBODY = model.Pod('', '', '')

ALLOCATABLE = "kubectl get node NODE -o jsonpath='{.status.allocatable}'"


def check_kubelet(subject: Subject) -> Iterator[Result]:
    """The kubelet says which devices it gave to whom."""
    sriov = subject.conf.sriov
    if sriov.enable_pod_resource_service:
        offers = _ask_for_offers(subject)
        if offers is None:
            yield warning(
                'The kubelet answers, but is too old to say what it offers.',
                "See the node's allocatable resources yourself:",
                ALLOCATABLE,
            )
        else:
            yield ok(f'answers; resources offered: {len(offers)}')
        return
    file = checkpoint.Checkpoint(sriov)
    try:
        file.list_devices(NOBODY)
    except exceptions.KubeletUnavailable as error:
        yield warning(
            str(error),
            'All is well if the daemon passes in the devices, as Multus does.',
        )
    else:
        yield ok(f'{file.path} can be read')


def check_resources(subject: Subject) -> Iterator[Result]:
    """What is configured is offered, and what is offered is configured."""
    sriov = subject.conf.sriov
    prefix = sriov.device_plugin_resource_prefix
    drivers = sriov.resource_driver_mappings
    if not drivers:
        yield failed(
            'No resource is configured, so that no pod can get a VF.',
            'Set physnet_resource_mappings and resource_driver_mappings in '
            '[sriov].',
        )
    try:
        offers = _ask_for_offers(subject)
    except exceptions.KubeletUnavailable:
        offers = None  # its service is not used, so that it may be off
    if offers is None:
        yield skipped('The kubelet does not say what it offers.')
        return
    offered = [name for name in drivers if offers.get(f'{prefix}/{name}')]
    for name, driver in drivers.items():
        resource = f'{prefix}/{name}'
        if name in offered:
            number = len(offers[resource])
            yield ok(f'{resource} (driver {driver}), devices: {number}')
        else:
            yield _not_offered(resource, offers, bool(offered))
    yield from _without_driver(subject, offers)


def _ask_for_offers(subject: Subject) -> Offers | None:
    """What it offers; None where the kubelet cannot be asked that."""
    with arguments.needs_extra('node'):
        from kuryr_sriov.allocations import podresources
    client = podresources.PodResources(subject.conf.sriov)
    try:
        return client.list_offered()
    except exceptions.KubeletUnavailable as error:
        if error.__cause__:
            raise
        return None


def _not_offered(resource: str, offers: Offers, others: bool) -> Result:
    """A resource of other nodes, unless this one offers nothing at all."""
    status = warning if others else failed
    bare = resource.rpartition('/')[2]
    for offer in sorted(offers):
        prefix, _, name = offer.rpartition('/')
        if name == bare and offers[offer]:
            return status(
                f'{resource} is not offered by the kubelet, but {offer} is.',
                f'Set [sriov] device_plugin_resource_prefix = {prefix}, or '
                'let the device plugin use the other prefix.',
            )
    return status(
        f'{resource} is not offered by the kubelet.',
        'See whether the device plugin runs here, whether its file has this '
        'resource, and whether its selectors match VFs of this node.',
    )


def _without_driver(subject: Subject, offers: Offers) -> Iterator[Result]:
    """Resources with network functions of this node: a QAT is no NIC."""
    sriov = subject.conf.sriov
    functions = {f.pci for f in subject.host.pci.functions.list_all()}
    for resource in sorted(offers):
        prefix, _, name = resource.rpartition('/')
        if (
            prefix == sriov.device_plugin_resource_prefix
            and name not in sriov.resource_driver_mappings
            and functions.intersection(offers[resource])
        ):
            yield warning(
                f'{resource} is offered by the kubelet, but has no driver.',
                f'If it is for pods with Neutron ports, add {name}:DRIVER to '
                '[sriov] resource_driver_mappings.',
            )
