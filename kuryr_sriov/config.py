# SPDX-License-Identifier: Apache-2.0
"""kuryr.conf: the options of ``[sriov]``, and those that drivers bring.

A kuryr.conf written for kuryr-kubernetes 6 loads unchanged; its other
sections are left alone.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from oslo_config import cfg, types

from kuryr_sriov import validation
from kuryr_sriov.exceptions import ConfigurationError, PluginError
from kuryr_sriov.resources import Resources

GROUP = 'sriov'


class _Pairs(types.Dict):
    """``NAME:VALUE`` pairs, comma-separated; refused rather than guessed.

    oslo.config's own type takes ``a:1,b,c:2`` for two pairs, the second
    called ``b,c``.
    """

    def __call__(self, value: Any) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        pairs: dict[str, str] = {}
        wrong = []
        for part in value.split(',') if value.strip() else ():
            name, _, item = map(str.strip, part.partition(':'))
            if not part.strip():
                wrong.append('there is a comma too many')
            elif not (name and item):
                wrong.append(f'{part.strip()!r} is not NAME:VALUE')
            elif name in pairs:
                wrong.append(f'{name!r} is there twice')
            pairs[name] = item
        if wrong:
            raise ValueError(', '.join(wrong))
        return pairs


def _pairs(name: str, text: str) -> cfg.Opt:
    # a DictOpt, so that the documentation calls it one
    option = cfg.DictOpt(name, default={}, help=text)
    option.type = _Pairs()
    return option


OPTIONS = (
    cfg.StrOpt(
        'kubelet_root_dir',
        default='/var/lib/kubelet',
        help="The kubelet's root directory, as this process sees it. Its "
        'pod-resources directory (not the socket in it) has to be mounted '
        'into a container that runs the node side.',
    ),
    cfg.BoolOpt(
        'enable_pod_resource_service',
        default=False,
        help="Ask the kubelet's PodResources service which VFs it "
        'allocated to a pod. Otherwise the daemon that embeds this library '
        "tells, or else the kubelet's checkpoint file.",
    ),
    _pairs(
        'default_physnet_subnets',
        'The subnet for each physnet, for networks whose '
        'NetworkAttachmentDefinition names none: '
        'physnet22:SUBNET_ID,physnet23:SUBNET_ID. The ids are UUIDs where '
        'vif_driver is neutron.',
    ),
    _pairs(
        'physnet_resource_mappings',
        "The device plugin's resource for each physnet, without its "
        'prefix: physnet22:RESOURCE,physnet23:RESOURCE. If empty, each '
        'resource is called like its physnet.',
    ),
    cfg.StrOpt(
        'device_plugin_resource_prefix',
        default='intel.com',
        help='What the device plugin puts before its resource names '
        '(its option -resource-prefix), without the slash.',
    ),
    _pairs(
        'resource_driver_mappings',
        'The binding driver for each resource: '
        'RESOURCE:vfio-pci,RESOURCE:netdevice. Every resource needs one.',
    ),
    cfg.BoolOpt(
        'enable_node_annotations',
        default=False,
        help='Has no effect here: the daemon that embeds this library '
        'decides what it writes to node objects. Kept so that files written '
        'for kuryr-kubernetes load.',
    ),
    cfg.StrOpt(
        'subnet_driver',
        default='nad',
        help='What finds the subnet of a network: an entry point in '
        'kuryr_sriov.subnet_drivers.',
    ),
    cfg.StrOpt(
        'vif_driver',
        default='neutron',
        help='What provides ports and addresses: an entry point in '
        'kuryr_sriov.vif_drivers.',
    ),
    cfg.ListOpt(
        'node_steps',
        default=[],
        help='What a node does besides for each VF that it gives to a pod, '
        'in order: entry points in kuryr_sriov.node_steps. Take one out only '
        'while no pod on the node has VFs.',
    ),
    cfg.StrOpt(
        'node_name',
        default='',
        help="This node's name as the network provider knows it (Neutron: "
        'binding:host_id), for pods that come without the name of their '
        'node.',
    ),
    cfg.StrOpt(
        'state_dir',
        default='/var/lib/kuryr-sriov',
        help='Directory for the ledger of attachments and the locks of '
        'PFs. It has to outlive containers and reboots.',
    ),
    cfg.FloatOpt(
        'device_timeout',
        default=10,
        help='Seconds to wait for a device at most, such as for a network '
        'interface to appear after its driver was bound.',
    ),
    cfg.FloatOpt(
        'pf_lock_timeout',
        default=60,
        help='Seconds to wait at most for another attachment on the same '
        'PF to finish: a NIC is configured by one at a time.',
    ),
    cfg.FloatOpt(
        'kubelet_timeout',
        default=5,
        help='Seconds to wait at most for one answer of the kubelet.',
    ),
)
"""The options of ``[sriov]``."""


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """The options, for oslo-config-generator."""
    return [(GROUP, list(copy.deepcopy(OPTIONS)))]


def register(conf: cfg.ConfigOpts) -> None:
    """Add the options to the configuration of a host that has its own."""
    conf.register_opts(OPTIONS, group=GROUP)


def load(
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
    register(conf)
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


def validate(conf: cfg.ConfigOpts, plugins: validation.Plugins) -> None:
    """Check all of ``[sriov]`` at once.

    :param plugins: names of the installed drivers, for each entry-point
        group.
    :raises ConfigurationError: listing every mistake.
    """
    values, problems = _read(conf, GROUP, OPTIONS)
    problems.extend(validation.problems(values, plugins))
    if problems:
        raise ConfigurationError(problems)


def resources(conf: cfg.ConfigOpts) -> Resources:
    """The operator's mappings of physnets, resources and drivers."""
    return Resources(
        prefix=conf.sriov.device_plugin_resource_prefix,
        names=conf.sriov.physnet_resource_mappings,
        drivers=conf.sriov.resource_driver_mappings,
    )


def section(conf: cfg.ConfigOpts, cls: Any) -> Any:
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
    _, problems = _read(conf, cls.group, cls.options)
    if problems:
        raise ConfigurationError(problems)
    return conf[cls.group]


def _read(
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
