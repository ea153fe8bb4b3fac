# SPDX-License-Identifier: Apache-2.0
"""What Neutron's answers mean where it says no."""

from __future__ import annotations

from typing import Any

from kuryr_sriov import exceptions

_EXHAUSTED = {
    'OverQuota',
    'IpAddressGenerationFailure',
    'IpAddressGenerationFailureAllSubnets',
    'IpAddressGenerationFailureNoMatchingSubnet',
    'MacAddressGenerationFailure',
    # a pod that comes again may ask for what its predecessor still holds
    'IpAddressAlreadyAllocated',
    'IpAddressInUse',
    'MacAddressInUse',
}

_ROLES = (
    'the user of [neutron] needs the roles "member" and "service" in its '
    'project: writing binding:profile wants "service" since 2024.1, and '
    '"admin" alone does not have it'
)


class _Refusal(exceptions.KuryrSriovError):
    """An answer that says no.

    :param type: Neutron's name for the error, such as ``PortNotFound``.
    :param status: of the HTTP answer.
    """

    def __init__(self, message: str, type: str = '', status: int = 0) -> None:
        super().__init__(message)
        self.type = type
        self.status = status

    def __reduce__(self) -> tuple[object, ...]:
        return self.__class__, (self.args[0], self.type, self.status)


class NeutronRefused(_Refusal, exceptions.ProviderRefused):
    """Neutron says no to what was asked for."""


class NeutronDenied(_Refusal, exceptions.ProviderDenied):
    """Neutron or Keystone do not let us, until somebody gives us the right."""


def explain_refusal(answer: Any) -> exceptions.KuryrSriovError:
    """The error that an answer of 400 and above means."""
    status = answer.status_code
    try:
        found = answer.json()['NeutronError']
        kind, text = found['type'], found['message']
    except (ValueError, KeyError, TypeError):
        kind, text = '', answer.reason or 'no reason given'
    message = f'Neutron: {text} ({kind or "HTTP"} {status})'
    if kind in _EXHAUSTED:
        return exceptions.ProviderExhausted(message, retry_after=15.0)
    if status == 429 or status >= 500 or kind == 'RetryRequest':
        return exceptions.ProviderUnavailable(message, _retry_after(answer))
    # If-Match: the port has changed since it was read.
    if status == 412:
        return exceptions.ProviderUnavailable(message)
    if status in (401, 403):
        return NeutronDenied(f'{message}; {_ROLES}', kind, status)
    return NeutronRefused(message, kind, status)


def _retry_after(answer: Any) -> float:
    try:
        return max(1.0, float(answer.headers['Retry-After']))
    except (KeyError, ValueError):
        return 5.0
