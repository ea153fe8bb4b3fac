# SPDX-License-Identifier: Apache-2.0
"""The controller's root: from pods to VIFs, and back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from kuryr_sriov import model, plugins
from kuryr_sriov.config import loading
from kuryr_sriov.drivers import base
from kuryr_sriov.handlers import request
from kuryr_sriov.handlers.events import (
    Observer,
    ignore_event,
    logged,
    telling,
)
from kuryr_sriov.handlers.pipeline import Pipeline
from kuryr_sriov.npwg import requests


class Controller:
    """Obtains VIFs for pods. Thread-safe; any number of pods at a time.

    :param conf: from ``load_config``.
    :param get_nad: returns a NetworkAttachmentDefinition object.
    :param publish: hands a pod's VIFs to its node.
    :param observe: is told each step as it begins and ends.
    :raises ConfigurationError: listing every mistake in kuryr.conf.
    """

    def __init__(
        self,
        conf: Any,
        get_nad: request.GetNad,
        publish: request.Publish,
        *,
        observe: Observer = ignore_event,
    ) -> None:
        loading.validate_config(conf, plugins.installed())
        vif_driver = plugins.load(
            plugins.VIF_DRIVERS, conf.sriov.vif_driver, base.PodVIFDriver
        )
        subnet_driver = plugins.load(
            plugins.SUBNET_DRIVERS,
            conf.sriov.subnet_driver,
            base.PodSubnetsDriver,
        )
        self.vifs: base.PodVIFDriver = vif_driver(
            loading.read_section(conf, vif_driver)
        )
        subnets = subnet_driver(
            loading.read_section(conf, subnet_driver),
            self.vifs.describe_subnet,
        )
        self._observe = logged(observe)
        self._pipeline = Pipeline(
            'request',
            (
                request.Networks(get_nad),
                request.Subnets(
                    subnets, loading.resource_mappings(conf).resource
                ),
                request.Resources(),
                request.Vifs(self.vifs),
                request.Published(publish),
            ),
            self._observe,
        )

    def request(self, body: Mapping[str, Any]) -> tuple[model.Vif, ...]:
        """Obtain and publish the VIFs of a scheduled pod.

        Idempotent: safe to repeat for every event of the pod.

        :param body: the pod, as the Kubernetes API has it.
        :return: its VIFs, in the order of the annotation; none where no
            network of the pod is ours.
        :raises InvalidAnnotation: the annotation, or a NAD it names.
        :raises NotAllocated: it asks its node for too few VFs.
        """
        value = request.Request(body, requests.pod_of(body))
        with telling(self._observe, value.event):
            return tuple(self._pipeline.run(value).vifs)

    def activate(self, vif: model.Vif, location: model.Location) -> model.Vif:
        """Tell the provider where a VIF's VF is, as the node reported."""
        return self.vifs.activate_vif(vif, location)

    def release(self, body: Mapping[str, Any]) -> None:
        """Give back all VIFs of a deleted pod. Idempotent."""
        self.vifs.release_vifs(requests.pod_of(body))

    def collect_orphans(self, alive: Collection[str]) -> tuple[str, ...]:
        """Give back VIFs of pods that are gone; return their ids.

        :param alive: uids of all pods of the cluster.
        """
        return self.vifs.collect_orphans(alive)
