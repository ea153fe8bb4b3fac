# SPDX-License-Identifier: Apache-2.0
"""The controller's steps: from a pod to published VIFs.

Each takes a ``Request`` and returns it with more filled in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kuryr_sriov import model
from kuryr_sriov.drivers import base
from kuryr_sriov.handlers.events import Event
from kuryr_sriov.handlers.pipeline import NothingToUndo
from kuryr_sriov.npwg.requests import (
    check_requested,
    entries_of,
    request_of,
)

GetNad = Callable[[str, str], Mapping[str, Any]]
"""The NetworkAttachmentDefinition of that namespace and name."""

Publish = Callable[[model.Pod, Sequence[model.Vif]], None]
"""Hands a pod's VIFs to its node, where no pod's author can write them."""


@dataclass(frozen=True, slots=True)
class Request:
    """A pod on its way through the steps.

    :param body: the Kubernetes object; it is only read.
    """

    body: Mapping[str, Any]
    pod: model.Pod
    requests: Sequence[model.NetworkRequest] = ()
    vifs: Sequence[model.Vif] = ()

    @property
    def event(self) -> Event:
        """The beginning of the request."""
        return Event('request', 'started', 'request', pod=self.pod)


class Networks(NothingToUndo[Request]):
    """Read the pod's networks annotation and the NADs it names."""

    name = 'networks'

    def __init__(self, get_nad: GetNad) -> None:
        self._get_nad = get_nad

    def run(self, value: Request) -> Request:
        """Fill in ``requests``: the entries whose NAD is ours."""
        found = (
            request_of(entry, self._get_nad(entry.namespace, entry.name))
            for entry in entries_of(value.body)
        )
        requests = tuple(request for request in found if request)
        return dataclasses.replace(value, requests=requests)


class Subnets(NothingToUndo[Request]):
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
        resource = request.resource or self._resource_of(subnets[0].physnet)
        return dataclasses.replace(request, subnets=subnets, resource=resource)


class Resources(NothingToUndo[Request]):
    """Refuse a pod that asks its node for too few VFs."""

    name = 'resources'

    def run(self, value: Request) -> Request:
        """Change nothing."""
        check_requested(value.requests, value.body)
        return value


class Vifs(NothingToUndo[Request]):
    """Obtain the VIFs, all or none.

    They are not given back when a later step fails: an earlier request
    may have published them, and the pod may run on them. Asked again, the
    driver returns the same; ``release`` and ``collect_orphans`` end them.
    """

    name = 'vifs'

    def __init__(self, driver: base.PodVIFDriver) -> None:
        self._driver = driver

    def run(self, value: Request) -> Request:
        """Fill in ``vifs``."""
        if not value.requests:
            return value
        vifs = self._driver.request_vifs(value.pod, value.requests)
        return dataclasses.replace(value, vifs=vifs)


class Published(NothingToUndo[Request]):
    """Hand the VIFs to the pod's node."""

    name = 'publish'

    def __init__(self, publish: Publish) -> None:
        self._publish = publish

    def run(self, value: Request) -> Request:
        """Call the host's ``publish``, if there is anything."""
        if value.vifs:
            self._publish(value.pod, value.vifs)
        return value
