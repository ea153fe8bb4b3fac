# SPDX-License-Identifier: Apache-2.0
"""What happens to pods and VFs, reported while it happens.

Logs, metrics and Kubernetes events are made from these events and from
nothing else. The library's own log lines are: one for each VF that was
attached or restored, and one for each failure.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from kuryr_sriov import exceptions, model

LOG = logging.getLogger(__name__)

Phase: TypeAlias = Literal[
    'started', 'done', 'failed', 'undoing', 'undone', 'undo-failed'
]

PROVIDER = 'provider'
"""The operation of requests to the network provider, whatever needs them."""

_ENDS: dict[Phase, tuple[Phase, Phase]] = {
    'started': ('done', 'failed'),
    'undoing': ('undone', 'undo-failed'),
}
"""How a phase ends, well or badly."""

_ACHIEVED = {
    'connect': 'attached',
    'restore': 'restored',
    'change': 'changed the settings of',
}
"""What has happened to a VF when such a step is done."""


@dataclass(frozen=True, slots=True)
class Event:
    """A step begins, or has ended.

    Each operation is a step of the same name; it concerns the whole call,
    and its ``pci`` is empty. The steps ``connect``, ``restore``
    and ``announce``, and those that have the name of an attachment hook,
    concern one VF.

    :param step: what is done, such as ``allocate`` or ``connect``.
    :param phase: ``undoing`` where a later step has failed.
    :param operation: the call that it is part of: ``attach``, ``detach``,
        ``announce``, ``check``, ``reconcile``, ``collect-garbage``,
        ``change``; of the
        controller: ``request``, ``activate``, ``release``, and ``provider``,
        whose steps are requests to the network provider (``POST ports``).
    :param pod: None where only the ledger's records tell the pods.
    :param container_id: of the pod's sandbox; empty in the controller.
    :param ifname: the interface's name in the pod.
    :param pci: PCI address of the VF.
    :param vif_id: the network provider's id (Neutron: port id).
    :param driver: binding driver, by entry-point name.
    :param seconds: how long it took; 0 at its beginning.
    :param error: what ended a phase ``failed`` or ``undo-failed``.
    """

    step: str
    phase: Phase
    operation: str
    pod: model.Pod | None = None
    container_id: str = ''
    ifname: str = ''
    pci: str = ''
    vif_id: str = ''
    driver: str = ''
    seconds: float = 0.0
    error: BaseException | None = None

    def become(
        self,
        phase: Phase,
        *,
        step: str = '',
        seconds: float = 0.0,
        error: BaseException | None = None,
    ) -> Event:
        """The event of another phase, or of another step of the same."""
        # An attach has fifty, and dataclasses.replace takes four times as
        # long.
        return Event(
            step or self.step,
            phase,
            self.operation,
            self.pod,
            self.container_id,
            self.ifname,
            self.pci,
            self.vif_id,
            self.driver,
            seconds,
            error,
        )


class Observer(Protocol):
    """Is told each event as it happens, in the thread that acts.

    An exception that it raises is logged and changes nothing.
    """

    def __call__(self, event: Event, /) -> object:
        """Take note of the event, quickly."""


class Told(Protocol):
    """A value that says what the events of its steps have in common."""

    @property
    def event(self) -> Event:
        """The beginning of the operation."""


def ignore_event(event: Event) -> None:
    """The observer that looks away."""


def logging_observer(observe: Observer) -> Observer:
    """An observer that writes the library's log, then tells ``observe``."""

    def log_and_tell(event: Event) -> None:
        log_event(event)
        try:
            observe(event)
        except Exception:
            LOG.exception('the observer failed at %s', event)

    return log_and_tell


@contextlib.contextmanager
def telling(observe: Observer, event: Event) -> Iterator[None]:
    """Tell that a step begins, and how the body of ``with`` ends it."""
    observe(event)
    began = time.monotonic()
    well, badly = _ENDS[event.phase]
    try:
        yield
    except BaseException as error:
        seconds = time.monotonic() - began
        observe(event.become(badly, seconds=seconds, error=error))
        raise
    observe(event.become(well, seconds=time.monotonic() - began))


def about_attachment(
    attachment: model.Attachment, step: str, operation: str
) -> Event:
    """The beginning of a step that concerns one VF."""
    return Event(
        step,
        'started',
        operation,
        pod=attachment.sandbox.pod,
        container_id=attachment.sandbox.container_id,
        ifname=attachment.vif.ifname,
        pci=attachment.pci,
        vif_id=attachment.vif.id,
        driver=attachment.driver,
    )


def log_event(event: Event) -> None:
    """Log the event, if it is one of those that make a line.

    The event's fields are attributes of the record (``extra``), so that a
    JSON formatter has them.
    """
    # Most events make no line: the text is composed for those that do.
    level = _choose_level(event)
    if LOG.isEnabledFor(level):
        LOG.log(
            level,
            '%s',
            _compose_line(event, level),
            extra=_extra_fields(event),
            exc_info=event.error if _is_unexpected(event.error) else None,
        )


def _choose_level(event: Event) -> int:
    if event.phase in ('failed', 'undo-failed'):
        if event.step in (event.operation, 'restore'):
            retried = isinstance(event.error, exceptions.TransientError)
            return logging.WARNING if retried else logging.ERROR
    elif event.phase == 'done' and event.step in _ACHIEVED:
        return logging.INFO
    return logging.DEBUG


def _compose_line(event: Event, level: int) -> str:
    subject = _describe_subject(event)
    if level >= logging.WARNING:
        return (
            f'{event.step} failed after {event.seconds:.3f} s: '
            f'{subject}: {event.error!s}'
        )
    if level == logging.INFO:
        return f'{_ACHIEVED[event.step]} {subject} in {event.seconds:.3f} s'
    return f'{event.operation}: {event.step} {event.phase}: {subject}'


def _describe_subject(event: Event) -> str:
    parts = [
        f'VF {event.pci}' if event.pci else '',
        f'interface {event.ifname}' if event.ifname else '',
        f'port {event.vif_id}' if event.vif_id else '',
        f'pod {event.pod}' if event.pod else '',
        f'sandbox {event.container_id}' if event.container_id else '',
    ]
    return ', '.join(filter(None, parts)) or 'this node'


def _extra_fields(event: Event) -> dict[str, object]:
    pod = event.pod
    fields = {
        field.name: getattr(event, field.name)
        for field in dataclasses.fields(event)
    }
    return fields | {
        'pod': str(pod or ''),
        'pod_uid': pod.uid if pod else '',
        'error': str(event.error or ''),
    }


def _is_unexpected(error: BaseException | None) -> bool:
    """Whether it needs a traceback to tell where it comes from."""
    return error is not None and not isinstance(
        error, exceptions.KuryrSriovError
    )
