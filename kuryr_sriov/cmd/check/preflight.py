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
    configuration,
    leftovers,
    vfs,
)
from kuryr_sriov.cmd.check.findings import (
    STATUSES,
    Check,
    Finding,
    Subject,
    check_in_order,
)

CHECKS = (
    Check('kuryr.conf', configuration.files),
    Check('options', configuration.options, needs=('kuryr.conf',)),
    Check('drivers', configuration.drivers, needs=('options',)),
    Check('provider', configuration.provider, needs=('options',)),
    Check('VFs', vfs.vfs),
    Check('userspace', vfs.userspace, needs=('options',)),
    Check('kubelet', allocatable.answers, needs=('options',)),
    Check('resources', allocatable.resources, needs=('options', 'kubelet')),
    Check('state_dir', leftovers.writable, needs=('options',)),
    Check('ledger', leftovers.readable, needs=('options',)),
    Check('leftovers', leftovers.leftovers, needs=('ledger',)),
)

INDENT = ' ' * 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the subcommand."""
    arguments.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Check, print, and tell whether nothing failed."""
    host = arguments.host(args)
    try:
        subject = Subject(host, conf=arguments.load(args))
    except exceptions.ConfigurationError as error:
        subject = Subject(host, error=error)
    findings = list(check_in_order(CHECKS, subject))
    if args.json:
        print(output.to_json(as_json(findings)))
    else:
        print(*lines(findings), sep='\n')
    return 0 if ready(findings) else 1


def ready(findings: Iterable[Finding]) -> bool:
    """Whether nothing failed."""
    return all(finding.result.status != 'failed' for finding in findings)


def as_json(findings: Sequence[Finding]) -> dict[str, object]:
    """``ready`` and ``results``: ``check``, then ``preflight.Result``."""
    return {
        'ready': ready(findings),
        'results': [
            {'check': finding.check, **codec.to_builtins(finding.result)}
            for finding in findings
        ],
    }


def lines(findings: Sequence[Finding]) -> Iterator[str]:
    """A line or more for each finding, and how many there are."""
    following = [f.result.remedy for f in findings[1:]] + ['']
    for finding, remedy in zip(findings, following, strict=True):
        result = finding.result
        first = f'{result.status:7} {finding.check:10}  '
        yield from output.wrapped(result.message, first, INDENT)
        # What several lines share is said below the last.
        if result.remedy != remedy:
            yield from output.wrapped(
                result.remedy, f'{INDENT}-> ', f'{INDENT}   '
            )
        for command in result.commands:
            yield f'{INDENT}   # {command}'
    counts = collections.Counter(f.result.status for f in findings)
    numbers = ', '.join(
        f'{status}: {counts[status]}' for status in STATUSES if counts[status]
    )
    verdict = 'is ready' if ready(findings) else 'is not ready'
    yield ''
    yield f'This node {verdict} ({numbers}).'
