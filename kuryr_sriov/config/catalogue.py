# SPDX-License-Identifier: Apache-2.0
"""All options, for the sample configuration: ours and every plugin's."""

from __future__ import annotations

import copy
import pkgutil
from typing import Any

from kuryr_sriov import plugins
from kuryr_sriov.config.options import GROUP, OPTIONS


def list_opts() -> list[tuple[str, list[Any]]]:
    """The options by section (entry point ``oslo.config.opts``).

    Those of any installed plugin are among them, a vendor's too.

    :raises PluginError: a plugin does not load, for want of an extra.
    """
    sections: dict[str, list[Any]] = {GROUP: list(OPTIONS)}
    for group, contract in plugins.CONTRACTS.items():
        for name in sorted(plugins.names(group)):
            base = pkgutil.resolve_name(contract)
            driver = plugins.load(group, name, base)
            section = sections.setdefault(driver.group, [])
            known = {option.name for option in section}
            section += [o for o in driver.options if o.name not in known]
    return [(group, copy.deepcopy(o)) for group, o in sections.items() if o]
