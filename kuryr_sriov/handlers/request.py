# SPDX-License-Identifier: Apache-2.0
"""The controller's steps: from a pod to published VIFs.

Each takes a ``Request`` and returns it with more filled in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kuryr_sriov import exceptions, model
from kuryr_sriov.drivers import base
from kuryr_sriov.handlers.events import Event
from kuryr_sriov.handlers.pipeline import NothingToUndo
from kuryr_sriov.npwg.nad_policy import (
    check_against_subnets,
    refuse_unsupported,
)
from kuryr_sriov.npwg.requests import (
    Selection,
    check_requested,
    entries_of,
    request_of,
    requested_devices,
)
from kuryr_sriov.npwg.wishes import check_wishes

GetNad = Callable[[str, str], Mapping[str, Any]]
"""The NetworkAttachmentDefinition of that namespace and name."""

Publish = Callable[[model.Pod, Sequence[model.Vif]], None]
"""Hands a pod's VIFs to its node, where no pod's author can write them."""


NAMED = 8
"""So many networks without a device are read, for the error to name."""


@dataclass(frozen=True, slots=True)
class Request:
    """A pod on its way through the steps.

    :param body: the Kubernetes object; it is only read.
    :param had: whether the pod had VIFs when it was looked at last.
    """

    body: Mapping[str, Any]
    pod: model.Pod
    requests: Sequence[model.NetworkRequest] = ()
    vifs: Sequence[model.Vif] = ()
    had: bool = False

    @property
    def event(self) -> Event:
        """The beginning of the request."""
        return Event('request', 'started', 'request', pod=self.pod)


@dataclass(frozen=True, slots=True)
class Isolation:
    """Whose networks a pod may be on: Multus' ``namespaceIsolation``.

    Ports are made with more rights than a pod's author has, so that a
    network of somebody else's namespace is not his to take.

    :param on: whether pods are held to NADs of their own namespace.
    :param shared: namespaces whose NADs are for all pods.
    """

    on: bool
    shared: Collection[str]

    def check_entry(self, pod: model.Pod, entry: Selection) -> None:
        """Refuse a network that is not for the pod's namespace.

        :raises InvalidAnnotation: naming both namespaces and the options.
        """
        if not self.on or entry.namespace in (pod.namespace, *self.shared):
            return
        raise exceptions.InvalidAnnotation(
            f'pod {pod} names NetworkAttachmentDefinition '
            f'{entry.namespace}/{entry.name}, which is for pods of namespace '
            f'{entry.namespace}; use one of namespace {pod.namespace}, or add '
            f'{entry.namespace} to [sriov] global_namespaces'
        )


class ReadNetworks(NothingToUndo[Request]):
    """Read the pod's networks annotation and the NADs it names.

    Each NAD is read once, and few more than the pod has devices for: an
    annotation costs no more than its size.
    """

    name = 'networks'

    def __init__(
        self, get_nad: GetNad, isolation: Isolation, prefix: str
    ) -> None:
        self._get_nad = get_nad
        self._isolation = isolation
        self._prefix = f'{prefix}/'

    def run(self, value: Request) -> Request:
        """Fill in ``requests``: the entries whose NAD is ours."""
        room = sum(
            count
            for resource, count in requested_devices(value.body).items()
            if resource.startswith(self._prefix)
        )
        nads: dict[tuple[str, str], Mapping[str, Any]] = {}
        requests: list[model.NetworkRequest] = []
        for entry in entries_of(value.body):
            key = entry.namespace, entry.name
            if key not in nads:
                nads[key] = self._get_nad(*key)
            request = request_of(entry, nads[key])
            # Another plugin's network.
            if request is None:
                continue
            self._isolation.check_entry(value.pod, entry)
            requests.append(request)
            if len(requests) > room + NAMED:
                break  # enough to refuse it for the devices that it lacks
        return dataclasses.replace(value, requests=tuple(requests))


class FindSubnets(NothingToUndo[Request]):
    """Find each request's subnets, and the resource of their wire."""

    name = 'subnets'

    def __init__(
        self,
        driver: base.PodSubnetsDriver,
        resource_of: Callable[[str], str],
    ) -> None:
        self._driver = driver
        self._resource_of = resource_of

    def run(self, value: Request) -> Request:
        """Fill in ``subnets`` and ``resource`` of each request."""
        return dataclasses.replace(
            value, requests=tuple(map(self._with_subnets, value.requests))
        )

    def _with_subnets(
        self, request: model.NetworkRequest
    ) -> model.NetworkRequest:
        subnets = self._driver.get_subnets(request)
        if not subnets[0].physnet:
            # whichever driver: on an unknown wire no report can be verified
            raise exceptions.InvalidAnnotation(
                f'network {request}: nobody tells which physnet its subnet '
                f'{subnets[0].id} is on; add {subnets[0].network}:PHYSNET to '
                '[sriov] network_physnets'
            )
        resource = request.resource or self._resource_of(subnets[0].physnet)
        return dataclasses.replace(request, subnets=subnets, resource=resource)


class CheckRequests(NothingToUndo[Request]):
    """Refuse what the pod may not have, and more VFs than it asks for."""

    name = 'resources'

    def run(self, value: Request) -> Request:
        """Change nothing."""
        check_requested(value.requests, value.body)
        for request in value.requests:
            check_wishes(request)
            check_against_subnets(request)
        return value


class RequestVifs(NothingToUndo[Request]):
    """Obtain the VIFs, all or none.

    They are not given back when a later step fails: an earlier request
    may have published them, and the pod may run on them. Asked again, the
    driver returns the same; ``release`` and ``collect_orphans`` end them.

    :param driver_of: the driver for pods of the node of that name.
    :param is_released: whether the pod of that uid has been released: it
        may have been while its NADs were read.
    """

    name = 'vifs'

    def __init__(
        self,
        driver_of: Callable[[str], base.PodVIFDriver],
        is_released: Callable[[str], bool],
    ) -> None:
        self._driver_of = driver_of
        self._is_released = is_released

    def run(self, value: Request) -> Request:
        """Fill in ``vifs``."""
        wanted = value.requests or value.had
        if not wanted or self._is_released(value.pod.uid):
            return dataclasses.replace(value, had=False)
        driver = self._driver_of(value.pod.node)
        refuse_unsupported(
            value.requests, driver.policy_fields, type(driver).__name__
        )
        vifs = driver.request_vifs(value.pod, value.requests)
        # No provider knows of GUIDs: they are between pod and VF.
        vifs = tuple(
            dataclasses.replace(vif, guid=request.guid)
            for vif, request in zip(vifs, value.requests, strict=True)
        )
        return dataclasses.replace(value, vifs=vifs)


class PublishVifs(NothingToUndo[Request]):
    """Hand the VIFs to the pod's node."""

    name = 'publish'

    def __init__(self, publish: Publish) -> None:
        self._publish = publish

    def run(self, value: Request) -> Request:
        """Call the host's ``publish``, if there is or was anything."""
        if value.vifs or value.had:
            self._publish(value.pod, value.vifs)
        return value
