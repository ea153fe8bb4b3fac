# SPDX-License-Identifier: Apache-2.0
"""All that is wrong with a kuryr.conf, told at once, before it is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kuryr_sriov import plugins
from kuryr_sriov.config import loading, misspellings
from kuryr_sriov.config.options import GROUP, OPTIONS
from kuryr_sriov.exceptions import ConfigurationError, PluginError

Sections = Iterable[tuple[str, Iterable[Any]]]


def check_config(
    conf: Any, side: plugins.Side, sections: Sections = ()
) -> tuple[str, ...]:
    """Check all that one side reads: its plugins' sections are included.

    Otherwise a section is checked by whoever reads it, when it does: that
    of a binding driver by the first pod that needs the driver.

    :param conf: from ``load_config``.
    :param side: whose plugins: ``node`` or ``controller``.
    :param sections: those of the host itself, with their options, which are
        registered.
    :return: a sentence for each name that nothing reads; it may be
        misspelt, or be meant for another release.
    :raises ConfigurationError: listing every mistake.
    """
    problems: list[str] = []
    values, _ = loading.read_options(conf, GROUP, OPTIONS)
    try:
        loading.validate_config(conf, plugins.list_installed())
    except ConfigurationError as error:
        problems.extend(error.problems)
    for group, options in sections:
        problems.extend(loading.read_options(conf, group, options)[1])
    for kind in plugins.KINDS:
        if kind.side == side and kind.option in values:
            chosen = kind.chosen_by(values[kind.option])
            problems.extend(_plugin_problems(conf, kind, chosen))
    unread = misspellings.find_misspellings(
        conf, misspellings.list_known_options()
    )
    if problems:
        raise ConfigurationError([*problems, *unread])
    return tuple(unread)


def _plugin_problems(
    conf: Any, kind: plugins.Kind, chosen: Iterable[str]
) -> Iterator[str]:
    """What is wrong with plugins, and with their sections."""
    for name in sorted(plugins.list_names(kind).intersection(chosen)):
        try:
            loading.read_section(conf, plugins.load_plugin(kind, name))
        except ConfigurationError as error:
            yield from error.problems
        except PluginError as error:
            yield str(error)
