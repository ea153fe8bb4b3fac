# SPDX-License-Identifier: Apache-2.0
"""What is written is what is read, also by a version that knows less."""

import dataclasses
import inspect
import json
import types
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kuryr_sriov import codec, model
from kuryr_sriov.exceptions import LedgerError

VALUES = [
    cls
    for _, cls in inspect.getmembers(model, inspect.isclass)
    if dataclasses.is_dataclass(cls)
]
POD = model.Pod('default', 'nginx', 'u-1')


def values(kind):
    """Any value of a type, with numbers as JSON readers take them."""
    arguments = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        fields = {name: values(hint) for name, hint in hints.items()}
        return st.builds(kind, **fields)
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=2).map(tuple)
    if origin in (types.UnionType, typing.Union):
        return st.one_of(values(argument) for argument in arguments)
    if kind is int:
        return st.integers(-(2**63), 2**63 - 1)
    if kind is float:  # JSON has neither infinities nor NaN
        return st.floats(allow_nan=False, allow_infinity=False)
    return st.from_type(kind)


@pytest.mark.parametrize('cls', VALUES)
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_every_value_of_the_model(cls, data):
    value = data.draw(values(cls))
    text = codec.to_json(value)
    assert codec.from_json(cls, text) == value
    assert json.loads(text) == codec.to_builtins(value)


def test_a_tuple_of_values():
    pods = (POD, dataclasses.replace(POD, node='node1'))
    text = codec.to_json(pods)
    assert codec.from_json(tuple[model.Pod, ...], text) == pods


def test_text_is_compact_and_has_the_names_of_the_model():
    assert codec.to_json(POD) == (
        '{"namespace":"default","name":"nginx","uid":"u-1","node":"",'
        '"containers":[]}'
    )


def test_unknown_keys_are_of_a_newer_version():
    text = '{"namespace":"a","name":"b","uid":"c","mood":{"x":[1]}}'
    assert codec.from_json(model.Pod, text) == model.Pod('a', 'b', 'c')


def test_absent_keys_have_their_defaults():
    text = '{"mac":null}'
    assert codec.from_json(model.VfSettings, text) == model.VfSettings()


NOT_A_POD = [
    ('', 'Input data was truncated'),
    ('[]', 'Expected `object`, got `array`'),
    ('{"namespace":"a","name":"b"}', 'missing required field `uid`'),
    (
        '{"namespace":"a","name":"b","uid":7}',
        r'Expected `str`, got `int` - at `\$\.uid`',
    ),
    # msgspec before 0.23, and since
    (b'{"namespace":"\xff"}', "can't decode byte 0xff|Invalid UTF-8"),
    ('{"x":' + '[' * 100_000, 'maximum recursion depth'),
]


@pytest.mark.parametrize(('text', 'reason'), NOT_A_POD)
def test_anything_else_is_refused_with_the_reason(text, reason):
    with pytest.raises(LedgerError, match=reason) as caught:
        codec.from_json(model.Pod, text, LedgerError)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    'text',
    ['{"vlan":"1"}', '{"vlan":1.5}', '{"vlan":true}', '{"link_state":"up"}'],
)
def test_types_are_strict(text):
    with pytest.raises(ValueError, match=r'at `\$\.(vlan|link_state)`'):
        codec.from_json(model.VfSettings, text)


def test_the_caller_says_where_it_was_found():
    def error(reason):
        return LedgerError(f'record 7: {reason}')

    with pytest.raises(LedgerError, match='record 7: Expected'):
        codec.from_json(model.Pod, '[]', error)
