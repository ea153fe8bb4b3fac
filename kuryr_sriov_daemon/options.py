# SPDX-License-Identifier: Apache-2.0
"""The daemons' own sections of kuryr.conf."""

from __future__ import annotations

import copy
from typing import Any

from oslo_config import cfg

DAEMON = 'sriov_daemon'
"""What both daemons share."""

DAEMON_OPTIONS = (
    cfg.StrOpt(
        'log_format',
        default='text',
        choices=['text', 'json'],
        help='Lines of text, or one JSON object in each line. Both have the '
        'pod, port and VF of an operation as fields.',
    ),
    cfg.StrOpt(
        'log_level',
        default='INFO',
        ignore_case=True,
        choices=['DEBUG', 'INFO', 'WARNING', 'ERROR'],
        help='What is logged, at least.',
    ),
    cfg.StrOpt(
        'kubeconfig',
        default='',
        help='File with credentials for the Kubernetes API. Empty: those of '
        'the service account of the pod that this runs in, or else of the '
        'file that the environment variable KUBECONFIG names.',
    ),
    cfg.StrOpt(
        'api_root',
        default='',
        help='URL of an API server that needs no credentials, such as that '
        'of kubectl proxy. It takes precedence over credentials.',
    ),
)

CONTROLLER = 'sriov_controller'

CONTROLLER_OPTIONS = (
    cfg.IntOpt(
        'workers',
        default=16,
        min=1,
        help='How many pods are worked on at a time.',
    ),
    cfg.StrOpt(
        'lease_namespace',
        default='kuryr-sriov',
        help='Namespace of the Lease by which the replicas choose the one '
        'that acts.',
    ),
    cfg.StrOpt(
        'lease_name',
        default='kuryr-sriov-controller',
        help='Name of that Lease.',
    ),
    cfg.FloatOpt(
        'lease_duration',
        default=15.0,
        min=3.0,
        help='Seconds without a renewal after which another replica takes '
        'over. The one that acts renews about every eighth of that, and '
        'stops acting after two thirds of it without success.',
    ),
    cfg.FloatOpt(
        'orphan_period',
        default=600.0,
        min=1.0,
        help='Seconds between two searches for VIFs and port objects whose '
        'pods are gone. There is one whenever a replica takes over, too.',
    ),
    cfg.FloatOpt(
        'confirm_period',
        default=5.0,
        min=0.5,
        help='Seconds between two questions to the network provider whether '
        'traffic of activated VIFs flows by now; it is asked once for all of '
        'them, and only while there are such VIFs.',
    ),
    cfg.StrOpt(
        'http_host',
        default='',
        help='Address for /metrics, /healthz and /readyz; empty for all.',
    ),
    cfg.PortOpt(
        'http_port',
        default=9480,
        help='Port for /metrics, /healthz and /readyz; 0 for any free one.',
    ),
)

SECTIONS = ((DAEMON, DAEMON_OPTIONS), (CONTROLLER, CONTROLLER_OPTIONS))


def register_daemon_options(conf: Any) -> Any:
    """Let the sections be read; return ``conf``."""
    for group, options in SECTIONS:
        conf.register_opts(options, group=group)
    return conf


def list_opts() -> list[tuple[str, list[Any]]]:
    """The options by section (entry point ``oslo.config.opts``)."""
    return [(group, copy.deepcopy([*opts])) for group, opts in SECTIONS]
