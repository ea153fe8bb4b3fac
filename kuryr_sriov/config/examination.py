# SPDX-License-Identifier: Apache-2.0
"""All that is wrong with a kuryr.conf, told at once, before it is used."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from kuryr_sriov import plugins
from kuryr_sriov.config import loading, misspellings
from kuryr_sriov.config.options import GROUP, OPTIONS
from kuryr_sriov.exceptions import ConfigurationError, PluginError

Sections = Iterable[tuple[str, Collection[Any]]]


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
    :return: a sentence for each name in these sections that nothing reads,
        and for sections whose names look like theirs: it may be misspelt, or
        be meant for another release.
    :raises ConfigurationError: listing every mistake.
    """
    problems: list[str] = []
    values, _ = loading.read_options(conf, GROUP, OPTIONS)
    try:
        loading.validate_config(conf, plugins.list_installed())
    except ConfigurationError as error:
        problems.extend(error.problems)
    known = {GROUP: misspellings.names_of(OPTIONS)}
    for group, options in sections:
        problems.extend(loading.read_options(conf, group, options)[1])
        known[group] = misspellings.names_of(options)
    # No plugin of the other side is loaded: a node would carry openstacksdk
    # about for the sake of a misspelling.
    for plugin in _load_chosen(side, values, problems):
        try:
            loading.read_section(conf, plugin)
        except ConfigurationError as error:
            problems.extend(error.problems)
        except PluginError as error:
            problems.append(str(error))
        names = misspellings.names_of(plugin.options)
        known[plugin.group] = known.get(plugin.group, frozenset()) | names
    unread = tuple(misspellings.find_misspellings(conf, known))
    if problems:
        raise ConfigurationError([*problems, *unread])
    return unread


def _load_chosen(
    side: plugins.Side, values: Mapping[str, Any], problems: list[str]
) -> Iterator[Any]:
    """The classes of a side's plugins that are chosen, each one once."""
    seen = set()
    for kind in plugins.KINDS:
        if kind.side != side or kind.option not in values:
            continue
        chosen = kind.chosen_by(values[kind.option])
        # That others are not installed is told of the option.
        for name in sorted(plugins.list_names(kind).intersection(chosen)):
            try:
                plugin = plugins.load_plugin(kind, name)
            except PluginError as error:
                problems.append(str(error))
                continue
            if plugin not in seen:
                seen.add(plugin)
                yield plugin
