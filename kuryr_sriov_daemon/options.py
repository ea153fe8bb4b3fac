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
        help='How many pods are worked on at a time. Pods of the same '
        'networks have a quarter of them at first, and more as they succeed, '
        'so that a network whose requests hang does not keep the others '
        'waiting.',
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
    cfg.FloatOpt(
        'changes_period',
        default=300.0,
        min=1.0,
        help='Seconds between two comparisons of all attached VIFs with what '
        'the network provider has of them, in one listing. Changed rates, '
        'spoof check, link state and trust reach the running VF; another '
        'change becomes an event of the pod and a metric.',
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

NODE = 'sriov_node'

NODE_OPTIONS = (
    cfg.StrOpt(
        'way',
        default='chained',
        choices=[
            (
                'chained',
                "after the cluster's primary CNI, for every pod; the daemon "
                'adds itself to the active CNI configuration',
            ),
            (
                'delegate',
                'of Multus, which reads the same annotation; '
                'NetworkAttachmentDefinitions then have a spec.config',
            ),
        ],
        help='How pods come to the CNI plugin. Both read the same '
        'annotation, so that a cluster uses one of the two.',
    ),
    cfg.StrOpt(
        'cni_socket',
        default='/run/kuryr-sriov/cni.sock',
        help='Where the CNI plugin finds the daemon. The plugin looks at the '
        "default; its folder has to be the host's.",
    ),
    cfg.StrOpt(
        'cni_conf_dir',
        default='/etc/cni/net.d',
        help="The container runtime's folder of CNI configurations, as this "
        'process sees it.',
    ),
    cfg.StrOpt(
        'cni_bin_dir',
        default='/opt/cni/bin',
        help="The container runtime's folder of CNI plugins, as this process "
        'sees it.',
    ),
    cfg.StrOpt(
        'plugin',
        default='/opt/cni/kuryr-sriov',
        help='The CNI plugin that is copied there. If empty, none is, and '
        'the CNI configuration is left alone.',
    ),
    cfg.FloatOpt(
        'request_timeout',
        default=100,
        min=1,
        help='Seconds that a request of the runtime may take at most, with '
        'all that it waits for; what a failed ADD has to take back may take '
        '[sriov] attachment_timeout more. Less than 110, after which the CNI '
        'plugin gives up; the kubelet does after two minutes, by its '
        'runtimeRequestTimeout.',
    ),
    cfg.FloatOpt(
        'vifs_timeout',
        default=60,
        min=0,
        help='Seconds that ADD waits at most for the controller to promise '
        "the pod's VIFs. With active_timeout it must leave something of "
        'request_timeout for attaching them.',
    ),
    cfg.FloatOpt(
        'active_timeout',
        default=0,
        min=0,
        help='Seconds that ADD waits at most for the network provider to say '
        'that traffic flows; the pod does not start before that. 0 for not '
        'at all.',
    ),
    cfg.FloatOpt(
        'reconcile_interval',
        default=300,
        min=1,
        help='Seconds after which the node looks again for VFs of sandboxes '
        'that are gone.',
    ),
    cfg.FloatOpt(
        'check_interval',
        default=600,
        min=1,
        help='Seconds after which every attached VF is compared again with '
        'its record. What differs becomes an event of the pod and a metric.',
    ),
    cfg.FloatOpt(
        'settle_time',
        default=360,
        min=0,
        help='Seconds for which a VF may hold other rates, spoof check, link '
        "state or trust than its record before that is drift. Neutron's "
        'SR-IOV agent sets a change at once, and the controller hears of it '
        'within [sriov_controller] changes_period, which is to be less.',
    ),
    cfg.FloatOpt(
        'drain_timeout',
        default=25,
        min=0,
        help='Seconds for requests in progress to end when the daemon is to '
        "end; less than the pod's terminationGracePeriodSeconds.",
    ),
    cfg.StrOpt(
        'http_host',
        default='127.0.0.1',
        help='Address for /metrics, /healthz and /readyz; empty for all. The '
        'daemon is in the network namespace of the node.',
    ),
    cfg.PortOpt(
        'http_port',
        default=9481,
        help='Port for /metrics, /healthz and /readyz; 0 for any free one.',
    ),
)

SECTIONS = (
    (DAEMON, DAEMON_OPTIONS),
    (CONTROLLER, CONTROLLER_OPTIONS),
    (NODE, NODE_OPTIONS),
)


def register_daemon_options(conf: Any) -> Any:
    """Let the sections be read; return ``conf``."""
    for group, options in SECTIONS:
        conf.register_opts(options, group=group)
    return conf


def list_opts() -> list[tuple[str, list[Any]]]:
    """The options by section (entry point ``oslo.config.opts``)."""
    return [(group, copy.deepcopy([*opts])) for group, opts in SECTIONS]
