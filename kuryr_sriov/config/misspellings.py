# SPDX-License-Identifier: Apache-2.0
"""Names in kuryr.conf that nothing reads, and what was probably meant.

oslo.config ignores what it does not know, since one file has the sections of
several programs. A mistyped option then has its default, silently.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from oslo_config import cfg

from kuryr_sriov.config.options import GROUP, OPTIONS
from kuryr_sriov.exceptions import PluginError
from kuryr_sriov.spelling import most_similar


def find_misspellings(
    conf: cfg.ConfigOpts, known: Mapping[str, Collection[str]]
) -> Iterator[str]:
    """A sentence for each section or option that nothing reads.

    Sections of other programs are left alone, unless their name looks like
    one of ours; so are, in a section shared with others, options that look
    like none of ours.

    :param conf: from ``load_config``; its files are read once more.
    :param known: names of the options, by section.
    """
    for path in conf.config_file or ():
        sections: dict[str, dict[str, Any]] = {}
        cfg.ConfigParser(path, sections).parse()
        for section, options in sections.items():
            if section in known:
                yield from _misspelt_options(
                    path, section, options, known[section]
                )
            elif likely := most_similar(section, known):
                yield from _misspelt_section(path, section, likely)


def list_known_options() -> dict[str, frozenset[str]]:
    """Names of the options that something reads, by section.

    Those of the daemons are among them. Where a plugin does not load, for
    want of an extra, its section is not known, and nothing is said of it.
    """
    known = {GROUP: names_of(OPTIONS)}
    distribution = importlib.metadata.distribution('kuryr-sriov')
    for entry in distribution.entry_points.select(group='oslo.config.opts'):
        with contextlib.suppress(PluginError, ImportError):
            for section, listed in entry.load()():
                known[section] = names_of(listed)
    return known


def names_of(listed: Iterable[Any]) -> frozenset[str]:
    """The names by which a file may give options, earlier ones included."""
    return frozenset(
        name
        for option in listed
        for name in (
            option.dest,
            option.name,
            *(old.name for old in option.deprecated_opts if old.name),
        )
    )


def _misspelt_section(path: str, section: str, likely: str) -> Iterator[str]:
    if section.lower() == likely:
        # oslo.config reads it all the same (_normalize_group_name); what
        # else reads the file may not.
        yield f'{path}: write [{likely}] in place of [{section}].'
    else:
        yield (
            f'{path}: nothing reads section [{section}]; did you mean '
            f'[{likely}]?'
        )


def _misspelt_options(
    path: str, section: str, options: Collection[str], known: Collection[str]
) -> Iterator[str]:
    ours = section.startswith(GROUP)
    for option in options:
        if option in known:
            continue
        likely = most_similar(option, known)
        question = f'; did you mean {likely}?' if likely else '; remove it.'
        if ours or likely:
            yield f'{path}: nothing reads [{section}] {option}{question}'
