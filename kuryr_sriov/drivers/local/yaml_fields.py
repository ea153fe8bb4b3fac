# SPDX-License-Identifier: Apache-2.0
"""Reads one mapping of a YAML file; collects all that is wrong with it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from kuryr_sriov.drivers.local.ip_ranges import Address, Prefix

T = TypeVar('T')

Convert = Callable[[Any], T]
"""Makes a value of what YAML has; ValueError says what is wrong with it."""


class Fields:
    """The keys of a mapping, each taken once.

    :param where: file and entry, for messages.
    :param problems: takes one sentence for each mistake.
    """

    def __init__(
        self, mapping: Mapping[Any, Any], where: str, problems: list[str]
    ) -> None:
        self.where = where
        self._left = dict(mapping)
        self._problems = problems

    def wrong(self, what: str) -> None:
        """Report a mistake."""
        self._problems.append(f'{self.where}: {what}')

    def need(self, key: str, convert: Convert[T]) -> T | None:
        """The value of a key that must be there; None if it is wrong."""
        if self._left.get(key) is None:
            self._left.pop(key, None)
            self.wrong(f'{key} is missing; add "{key}: ..."')
            return None
        return self.take(key, convert, None)

    def take(self, key: str, convert: Convert[T], default: T) -> T:
        """The value of a key; the default if it is absent or wrong."""
        value = self._left.pop(key, None)
        if value is None:
            return default
        try:
            return convert(value)
        except ValueError as error:
            self.wrong(f'{key} {value!r}: {error}')
            return default

    def several(self, key: str, convert: Convert[T]) -> tuple[T, ...]:
        """The values in a list; none if it is absent or wrong."""

        def convert_all(value: object) -> tuple[T, ...]:
            if not isinstance(value, list):
                raise ValueError('must be a list; write "- ..." lines')
            return tuple(convert(item) for item in value)

        none: tuple[T, ...] = ()
        return self.take(key, convert_all, none)

    def each(self, key: str) -> Iterator[Fields]:
        """The mappings in a list; none if it is absent or wrong."""
        for count, item in enumerate(self.several(key, keep_value), 1):
            if isinstance(item, dict):
                where = f'{self.where}: {key} {count}'
                yield Fields(item, where, self._problems)
            else:
                self.wrong(f'{key} {count}: must be "key: value" lines')

    def finish(self) -> None:
        """Report keys that nobody took."""
        for key in self._left:
            self.wrong(f'unknown key {key!r}; correct or remove it')


def keep_value(value: object) -> object:
    """Whatever it is."""
    return value


def to_text(value: object) -> str:
    """Some text."""
    if not isinstance(value, str) or not value:
        raise ValueError('must be text; put it in quotes')
    return value


def to_address(value: object) -> Address:
    """An IPv4 or IPv6 address."""
    try:
        return ipaddress.ip_address(to_text(value))
    except ValueError as error:
        raise ValueError(
            'is no address; write one like 192.168.2.1 or 2001:db8::1'
        ) from error


def to_prefix(value: object) -> Prefix:
    """An IPv4 or IPv6 prefix, all host bits zero."""
    first, slash, _ = to_text(value).partition('/')
    try:
        network = ipaddress.ip_network(to_text(value), strict=False)
        exact = slash and to_address(first) == network.network_address
    except ValueError as error:
        raise ValueError(
            'is no prefix; write one like 192.168.2.0/24'
        ) from error
    if not exact:
        raise ValueError(f'is no prefix; did you mean {network}?')
    return network


def to_number(low: int, high: int) -> Convert[int]:
    """A whole number, both bounds included."""

    def convert(value: object) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f'must be a number from {low} to {high}')
        return value

    return convert
