# SPDX-License-Identifier: Apache-2.0
"""Does the network provider know all nodes that have VFs for pods?"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import Any

from kuryr_sriov import exceptions, plugins
from kuryr_sriov.clients.kubernetes.objects import Kubernetes
from kuryr_sriov.cmd.check.findings import (
    Result,
    Subject,
    failed,
    ok,
    skipped,
)
from kuryr_sriov.config import loading
from kuryr_sriov.handlers import vif_drivers


def check_nodes(subject: Subject) -> Iterator[Result]:
    """Each node can have ports, as far as its VIF driver can tell."""
    sriov = subject.conf.sriov
    offers = functools.cache(lambda: _list_offers(subject))
    names = sriov.vif_driver, *sriov.node_vif_drivers.values()
    for name in dict.fromkeys(names):
        try:
            driver = plugins.load_plugin(plugins.VIF_DRIVERS, name)
            problems = driver.preflight_nodes(
                loading.read_section(subject.conf, driver),
                lambda name=name: _nodes_of(name, sriov, offers()),
            )
        except exceptions.PluginError:
            yield skipped(f'vif driver {name} does not load here')
        except exceptions.KuryrSriovError as error:
            # Neither daemon has both rights; a person may have them.
            yield Result(
                'skipped',
                f'The nodes of vif driver {name} were not looked at: {error}.',
                'Run it once with credentials that may list agents '
                '(--config-file) and nodes (--kubeconfig).',
            )
        else:
            yield from map(failed, problems)
            if not problems:
                yield ok(f'vif driver {name} misses no node')


def _list_offers(subject: Subject) -> Mapping[str, frozenset[str]]:
    with contextlib.closing(subject.connect()) as session:
        return Kubernetes(session).list_offers()


def _nodes_of(
    driver: str, sriov: Any, offers: Mapping[str, frozenset[str]]
) -> list[str]:
    """The nodes that offer VFs, and whose pods have VIFs of that driver."""
    prefix = sriov.device_plugin_resource_prefix
    ours = {
        f'{prefix}/{name}'
        for name in (
            *sriov.physnet_resource_mappings.values(),
            *sriov.resource_driver_mappings,
        )
    }
    return [
        node
        for node, resources in offers.items()
        if ours & resources
        and vif_drivers.find_fitting(
            node, sriov.node_vif_drivers, sriov.vif_driver
        )
        == driver
    ]
