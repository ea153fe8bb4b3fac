# SPDX-License-Identifier: Apache-2.0
"""kuryr.conf: the options of ``[sriov]``, and those that drivers bring.

A kuryr.conf written for kuryr-kubernetes 6 loads unchanged; its other
sections are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from oslo_config import cfg

from kuryr_sriov.config import rules
from kuryr_sriov.config.mappings import Resources
from kuryr_sriov.config.options import GROUP, OPTIONS
from kuryr_sriov.exceptions import ConfigurationError, PluginError


def register_options(conf: cfg.ConfigOpts) -> None:
    """Add the options to the configuration of a host that has its own."""
    conf.register_opts(OPTIONS, group=GROUP)


def load_config(
    args: Sequence[str] = (), files: Sequence[str] | None = None
) -> cfg.ConfigOpts:
    """A configuration of its own, read but not yet validated.

    :param args: command line; a wrong one ends the process, as argparse
        does.
    :param files: None for ``kuryr.conf`` and ``kuryr-sriov.conf`` where
        oslo.config looks for them, such as ``/etc/kuryr``.
    :raises ConfigurationError: a file cannot be read or parsed.
    """
    conf = cfg.ConfigOpts()
    register_options(conf)
    try:
        conf(
            args=list(args),
            project='kuryr',
            prog='kuryr-sriov',
            default_config_files=None if files is None else list(files),
            default_config_dirs=None if files is None else [],
        )
    except (cfg.Error, OSError, ValueError) as error:
        raise ConfigurationError(
            [f'{error}; correct the file, or name another with --config-file.']
        ) from error
    return conf


def validate_config(conf: cfg.ConfigOpts, installed: rules.Plugins) -> None:
    """Check all of ``[sriov]`` at once.

    :param installed: names of the installed drivers, for each entry-point
        group.
    :raises ConfigurationError: listing every mistake.
    """
    values, problems = read_options(conf, GROUP, OPTIONS)
    problems.extend(rules.find_problems(values, installed))
    if problems:
        raise ConfigurationError(problems)


def resource_mappings(conf: cfg.ConfigOpts) -> Resources:
    """The operator's mappings of physnets, resources and drivers."""
    return Resources(
        prefix=conf.sriov.device_plugin_resource_prefix,
        names=conf.sriov.physnet_resource_mappings,
        drivers=conf.sriov.resource_driver_mappings,
    )


def read_section(conf: cfg.ConfigOpts, cls: Any) -> Any:
    """The section of a driver class, with the class's options in it.

    :param cls: has ``group`` and ``options``, as the contracts say.
    :raises ConfigurationError: one of these options cannot be read.
    :raises PluginError: the section has another option of that name.
    """
    conf.register_group(cfg.OptGroup(cls.group))
    try:
        conf.register_opts(cls.options, group=cls.group)
    except cfg.DuplicateOptError as error:
        raise PluginError(
            f'{cls.__module__}.{cls.__qualname__} declares option '
            f'{error.opt_name!r} of [{cls.group}], which is there with '
            f'another meaning; rename it, or choose another group.'
        ) from error
    _, problems = read_options(conf, cls.group, cls.options)
    if problems:
        raise ConfigurationError(problems)
    return conf[cls.group]


def read_options(
    conf: cfg.ConfigOpts, group: str, options: Iterable[cfg.Opt]
) -> tuple[dict[str, Any], list[str]]:
    """The values that can be read, and what is wrong with the others.

    oslo.config converts text on access, not when it parses a file.
    """
    values: dict[str, Any] = {}
    problems = []
    for option in options:
        try:
            value = conf[group][option.dest]
        except (cfg.Error, ValueError) as error:
            # the context is the bare reason; the error adds file internals
            reason = error.__context__ or error
            problems.append(
                f'[{group}] {option.name}: {reason}; correct the value.'
            )
            continue
        if option.required and value is None:
            problems.append(f'[{group}] {option.name}: not set; set it.')
        values[option.dest] = value
    return values, problems
