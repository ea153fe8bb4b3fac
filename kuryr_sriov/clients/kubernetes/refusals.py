# SPDX-License-Identifier: Apache-2.0
"""What the API server's answers mean where it says no."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from kuryr_sriov.exceptions import (
    PermanentError,
    ResourceConflict,
    ResourceExpired,
    TransientError,
)

Missing = Callable[[str], Exception]
"""Makes the error for an object that is not there, from the reason."""


def no_answer(where: str, error: Exception) -> TransientError:
    """The error for a request without an answer."""
    return TransientError(
        f'{where}: no answer: {error}; see whether the API server can be '
        'reached from here'
    )


def parse_object(data: bytes) -> Mapping[str, Any]:
    """The object in a body; an empty one where there is none."""
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def explain_refusal(
    where: str,
    status: int,
    answer: Mapping[str, Any],
    missing: Missing | None = None,
    headers: Mapping[str, str] | None = None,
) -> Exception:
    """The error that a ``Status`` object of the API server stands for.

    :param status: of the HTTP answer, or of the event in a watch.
    :param missing: makes the error for 404, and for an object of that name
        that has another uid than was given.
    """
    why = answer.get('message') or f'HTTP status {status}'
    if missing and (status == 404 or _is_another(status, answer)):
        return missing(why)
    # etcd has compacted what was asked for; the list that follows is new.
    if status == 410:
        return ResourceExpired(f'{where}: {why}; list again', retry_after=0.0)
    if status == 409:
        return ResourceConflict(
            f'{where}: {why}; read it again', retry_after=1.0
        )
    if status == 429 or status >= 500:
        # Seconds, from API Priority and Fairness.
        after = (headers or {}).get('Retry-After', '')
        return TransientError(
            f'{where}: {why}; if it stays so, see what the API server logs',
            retry_after=float(after) if after.isdecimal() else 5.0,
        )
    return PermanentError(f'{where}: {why}; {_REMEDIES.get(status, _OTHER)}')


_REMEDIES = {
    401: 'renew the credentials',
    403: 'bind the roles of deploy/base/rbac.yaml',
    422: 'see the definitions and policies of deploy/base',
    404: 'see whether the definitions of deploy/base are applied',
}
_OTHER = 'see whether this is the address of an API server'


def _is_another(status: int, answer: Mapping[str, Any]) -> bool:
    causes = (answer.get('details') or {}).get('causes') or ()
    return status == 422 and any(
        cause.get('field') == 'metadata.uid' for cause in causes
    )
