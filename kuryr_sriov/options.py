# SPDX-License-Identifier: Apache-2.0
"""All options, for the sample configuration: ours and every plugin's."""

from __future__ import annotations

import copy
from typing import Any

from kuryr_sriov import config, plugins
from kuryr_sriov.binding.base import BindingDriver
from kuryr_sriov.drivers.base import PodSubnetsDriver, PodVIFDriver
from kuryr_sriov.handlers.base import NodeStep

CONTRACTS = {
    plugins.SUBNET_DRIVERS: PodSubnetsDriver,
    plugins.VIF_DRIVERS: PodVIFDriver,
    plugins.BINDING_DRIVERS: BindingDriver,
    plugins.NODE_STEPS: NodeStep,
}
"""What a plugin of each entry-point group subclasses."""


def list_opts() -> list[tuple[str, list[Any]]]:
    """The options by section (entry point ``oslo.config.opts``).

    Those of any installed plugin are among them, a vendor's too.

    :raises PluginError: a plugin does not load, for want of an extra.
    """
    sections = {group: list(options) for group, options in config.list_opts()}
    for group, contract in CONTRACTS.items():
        for name in sorted(plugins.names(group)):
            driver = plugins.load(group, name, contract)
            section = sections.setdefault(driver.group, [])
            known = {option.name for option in section}
            section += [o for o in driver.options if o.name not in known]
    return [(group, copy.deepcopy(o)) for group, o in sections.items() if o]
