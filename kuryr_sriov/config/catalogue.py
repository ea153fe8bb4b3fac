# SPDX-License-Identifier: Apache-2.0
"""All options, for the sample configuration: ours and every plugin's."""

from __future__ import annotations

import copy
from typing import Any

from kuryr_sriov import plugins
from kuryr_sriov.config.options import GROUP, OPTIONS


def list_opts() -> list[tuple[str, list[Any]]]:
    """The options by section (entry point ``oslo.config.opts``).

    Those of any installed plugin are among them, a vendor's too.

    :raises PluginError: a plugin does not load, for want of an extra.
    """
    sections: dict[str, list[Any]] = {GROUP: list(OPTIONS)}
    for kind in plugins.KINDS:
        for name in sorted(plugins.list_names(kind)):
            plugin = plugins.load_plugin(kind, name)
            section = sections.setdefault(plugin.group, [])
            known = {option.name for option in section}
            section += [o for o in plugin.options if o.name not in known]
    return [(group, copy.deepcopy(o)) for group, o in sections.items() if o]
