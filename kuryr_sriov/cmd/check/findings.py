# SPDX-License-Identifier: Apache-2.0
"""Checks in a row, each a function that looks and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from kuryr_sriov import exceptions

if TYPE_CHECKING:
    from kuryr_sriov.host.linux import NodeHost

Status = Literal['ok', 'warning', 'failed', 'skipped']

STATUSES: tuple[Status, ...] = get_args(Status)


def connect_to_nobody() -> Any:
    """For checks of a node alone.

    :raises ConfigurationError: always.
    """
    raise exceptions.ConfigurationError(['no API server is named'])


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked.

    :param conf: from ``load_config``; None where that raised ``error``.
    :param connect: makes a session with the API server.
    """

    host: NodeHost
    conf: Any = None
    error: exceptions.ConfigurationError | None = None
    connect: Callable[[], Any] = connect_to_nobody


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found.

    :param remedy: what to do, in words; empty if ``message`` says it.
    :param commands: that do it, to be typed by root.
    :param unmet: the checks because of which this one was skipped.
    """

    status: Status
    message: str
    remedy: str = ''
    commands: tuple[str, ...] = ()
    unmet: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    :param examine: yields results; a library error ends it as failed.
    :param needs: names of earlier checks. If one of them failed or was
        skipped, this one is skipped.
    """

    name: str
    examine: Callable[[Subject], Iterable[Result]]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """A result and the name of its check."""

    check: str
    result: Result


def ok(message: str) -> Result:
    """All is as it should be."""
    return Result('ok', message)


def warning(message: str, remedy: str = '', *commands: str) -> Result:
    """It may be meant, or concern some pods only."""
    return Result('warning', message, remedy, commands)


def failed(message: str, remedy: str = '', *commands: str) -> Result:
    """Pods will not get their VFs."""
    return Result('failed', message, remedy, commands)


def skipped(message: str, *unmet: str) -> Result:
    """It cannot be told."""
    return Result('skipped', message, unmet=unmet)


def check_in_order(
    checks: Iterable[Check], subject: Subject
) -> Iterator[Finding]:
    """Run all checks, in order."""
    unmet: set[str] = set()
    for check in checks:
        for result in _run_check(check, subject, unmet):
            if result.status in ('failed', 'skipped'):
                unmet.add(check.name)
            yield Finding(check.name, result)


def _run_check(
    check: Check, subject: Subject, unmet: Iterable[str]
) -> Iterator[Result]:
    missing = [name for name in check.needs if name in unmet]
    if missing:
        yield skipped(f'because of {" and ".join(missing)}', *missing)
        return
    try:
        yield from check.examine(subject)
    except exceptions.KuryrSriovError as error:
        yield failed(str(error))
