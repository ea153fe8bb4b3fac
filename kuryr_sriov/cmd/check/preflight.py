# SPDX-License-Identifier: Apache-2.0
"""Preflight: the how-to's steps, on this node and with this kuryr.conf.

Each line is ok, a warning, failed or skipped, and says what to do. Nothing
is changed. The exit status is 1 if anything failed.
"""

from __future__ import annotations

import argparse
import collections
from collections.abc import Iterable, Iterator, Sequence

from kuryr_sriov import codec, exceptions
from kuryr_sriov.cmd import arguments, output
from kuryr_sriov.cmd.check import (
    allocatable,
    cluster_nodes,
    configuration,
    daemon_ways,
    guest_vfs,
    leftovers,
    vfs,
)
from kuryr_sriov.cmd.check.findings import (
    STATUSES,
    Check,
    Finding,
    Subject,
    check_in_order,
    skipped,
)

CHECKS = (
    Check('kuryr.conf', configuration.check_files),
    Check('options', configuration.check_options, needs=('kuryr.conf',)),
    Check('drivers', configuration.check_drivers, needs=('options',)),
    Check('provider', configuration.check_provider, needs=('options',)),
    Check('VFs', vfs.check_vfs),
    Check('guest VFs', guest_vfs.check_guest_vfs, needs=('options',)),
    Check('userspace', vfs.check_userspace, needs=('options',)),
    Check('kubelet', allocatable.check_kubelet, needs=('options',)),
    Check(
        'resources', allocatable.check_resources, needs=('options', 'kubelet')
    ),
    Check('state_dir', leftovers.check_state_dir, needs=('options',)),
    Check('ledger', leftovers.check_ledger, needs=('options',)),
    Check('leftovers', leftovers.check_leftovers, needs=('ledger',)),
    Check('CNI', daemon_ways.check_ways, needs=('options', 'drivers')),
    Check('nodes', cluster_nodes.check_nodes, needs=('options',)),
)

INDENT = ' ' * 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the subcommand."""
    arguments.add_arguments(parser)
    arguments.add_cluster_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Check, print, and tell whether nothing failed."""
    host = arguments.make_host(args)
    try:
        subject = Subject(
            host,
            conf=arguments.load_conf(args),
            connect=lambda: arguments.connect(args),
        )
    except exceptions.ConfigurationError as error:
        subject = Subject(host, error=error)
    findings = list(check_in_order(CHECKS, subject))
    if args.json:
        print(output.to_json(as_json(findings)))
    else:
        print(*report_lines(findings), sep='\n')
    return 0 if is_ready(findings) else 1


def is_ready(findings: Iterable[Finding]) -> bool:
    """Whether nothing failed."""
    return all(finding.result.status != 'failed' for finding in findings)


def as_json(findings: Sequence[Finding]) -> dict[str, object]:
    """``ready`` and ``results``: ``check``, then ``preflight.Result``."""
    return {
        'ready': is_ready(findings),
        'results': [
            {'check': finding.check, **codec.to_builtins(finding.result)}
            for finding in findings
        ],
    }


def report_lines(findings: Sequence[Finding]) -> Iterator[str]:
    """A line or more for each finding, and the verdict."""
    findings = _merge_skipped(findings)
    following = [f.result.remedy for f in findings[1:]] + ['']
    for finding, remedy in zip(findings, following, strict=True):
        result = finding.result
        first = f'{result.status:7} {finding.check:10}  '
        yield from output.wrap_text(result.message, first, INDENT)
        # What several lines share is said below the last.
        if result.remedy != remedy:
            yield from output.wrap_text(
                result.remedy, f'{INDENT}-> ', f'{INDENT}   '
            )
        for command in result.commands:
            yield f'{INDENT}   # {command}'
    counts = collections.Counter(f.result.status for f in findings)
    numbers = ', '.join(
        f'{status}: {counts[status]}' for status in STATUSES if counts[status]
    )
    verdict = 'is ready' if is_ready(findings) else 'is not ready'
    yield ''
    yield f'This node {verdict} ({numbers}).'


def _merge_skipped(findings: Iterable[Finding]) -> list[Finding]:
    """All that was skipped because another check failed, in one finding."""
    findings = list(findings)
    waiting = [f.check for f in findings if f.result.unmet]
    if len(waiting) < 2:
        return findings
    causes = {name: '' for f in findings for name in f.result.unmet}
    roots = ' and '.join(name for name in causes if name not in waiting)
    return [
        *(f for f in findings if not f.result.unmet),
        Finding(
            f'{len(waiting)} checks',
            skipped(f'{", ".join(waiting)}: because of {roots}'),
        ),
    ]
