# SPDX-License-Identifier: Apache-2.0
"""The one JSON form of each value of ``kuryr_sriov.model``.

Field names are keys, tuples are lists, None is null. Reading is strict about
types and lenient about keys it does not know: a newer version may have
written them.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

T = TypeVar('T')

_BUILDING = threading.Lock()


def to_json(value: object) -> str:
    """The value as compact JSON; equal values give equal text."""
    return msgspec.json.encode(value).decode()


def to_builtins(value: object) -> Any:
    """The value's JSON form as dicts, lists, strings and numbers."""
    return msgspec.json.decode(msgspec.json.encode(value))


def from_json(
    cls: type[T],
    text: str | bytes,
    error: Callable[[str], Exception] = ValueError,
) -> T:
    """The value that ``to_json`` wrote.

    :param cls: its type; ``tuple[Vif, ...]`` will do, too.
    :param error: makes the exception to raise for text that is no such
        value, from words that say why. The caller adds where it was found
        and what to do.
    """
    try:
        value: T = _decoder_of(cls).decode(text)
        return value
    except (msgspec.DecodeError, ValueError, RecursionError) as cause:
        raise error(str(cause)) from cause


def _decoder_of(cls: Any) -> Any:
    # msgspec crashes where two threads are the first to need a dataclass.
    with _BUILDING:
        return _build_decoder(cls)


@functools.cache
def _build_decoder(cls: Any) -> Any:
    return msgspec.json.Decoder(cls)
