# SPDX-License-Identifier: Apache-2.0
"""``.. options::`` lists all options of kuryr.conf, from the options."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from oslo_config import cfg

from kuryr_sriov.config import catalogue
from kuryr_sriov_daemon import options as daemon_options

FIRST = 'sriov'


class Options(Directive):
    """A heading for each section, a definition for each option."""

    def run(self) -> list[nodes.Node]:
        """Our own section first, the others by name."""
        sections = sorted(
            [*catalogue.list_opts(), *daemon_options.list_opts()],
            key=lambda section: (section[0] != FIRST, section),
        )
        return [_section(group, options) for group, options in sections]


def _section(group: str, options: Iterable[Any]) -> nodes.section:
    title = nodes.title('', f'[{group}]')
    listed = nodes.definition_list('', *(_item(group, o) for o in options))
    section = nodes.section('', title, listed, ids=[f'section-{group}'])
    section['names'].append(f'[{group}]')
    return section


def _item(group: str, option: cfg.Opt) -> nodes.definition_list_item:
    name = nodes.literal('', option.dest)
    term = nodes.term('', '', name, ids=[f'{group}-{option.dest}'])
    paragraphs = [nodes.paragraph('', option.help or '')]
    paragraphs.append(nodes.paragraph('', '', *_facts(option)))
    return nodes.definition_list_item(
        '', term, nodes.definition('', *paragraphs)
    )


def _facts(option: cfg.Opt) -> Iterator[nodes.Node]:
    """Type, default, and names of older releases."""
    kind = getattr(option.type, 'type_name', '').removesuffix(' value')
    if kind and kind != 'unknown':
        yield nodes.Text(f'{kind.capitalize()}. ')
    if option.default in (None, '', [], {}):
        yield nodes.Text('Not set by default.')
    else:
        yield nodes.Text('Default: ')
        yield nodes.literal('', str(option.default))
    for old in option.deprecated_opts:
        yield nodes.Text('. Formerly ')
        name = f'[{old.group}] {old.name}' if old.group else str(old.name)
        yield nodes.literal('', name)


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive('options', Options)
    return {'parallel_read_safe': True}
