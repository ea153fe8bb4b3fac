# SPDX-License-Identifier: Apache-2.0
"""The networks annotation is honoured in full or refused with a reason."""

import itertools
import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kuryr_sriov.exceptions import InvalidAnnotation
from kuryr_sriov.npwg import annotation
from kuryr_sriov.npwg.requests import Selection, entries_of, parse_networks

GUID = '00:11:22:33:44:55:66:77'


def names(value, namespace='mine'):
    return [
        (entry.namespace, entry.name, entry.ifname)
        for entry in parse_networks(value, namespace)
    ]


def test_the_how_to():
    assert names('sriov-net1,sriov-net2', 'default') == [
        ('default', 'sriov-net1', 'net1'),
        ('default', 'sriov-net2', 'net2'),
    ]


def test_short_form_in_full():
    assert names(' a/b@eth1 , c@x.9-_ ,d,a/b ') == [
        ('a', 'b', 'eth1'),
        ('mine', 'c', 'x.9-_'),
        ('mine', 'd', 'net3'),
        ('a', 'b', 'net4'),
    ]


def test_a_namespace_does_not_leak_into_the_next_entry():
    assert [entry[0] for entry in names('other/a,b')] == ['other', 'mine']
    value = '[{"name": "a", "namespace": "other"}, {"name": "b"}]'
    assert [entry[0] for entry in names(value)] == ['other', 'mine']


def test_json_form_in_full():
    element = {
        'name': 'a',
        'namespace': 'b',
        'ips': ['10.0.0.2/24', 'FD00:0::2', '10.0.0.3'],
        'mac': '02-00-00-00-00-AF',
        'interface': 'fast0',
        'default-route': ['10.0.0.1', 'fd00:0::1'],
        'infiniband-guid': GUID,
        'portMappings': [{'hostPort': 1}],
        'bandwidth': {'ingressRate': 1},
        'cni-args': {'x': 1},
        'com.example.key': 1,
        'com.example/key': None,
    }
    assert parse_networks(json.dumps([element]), 'mine') == (
        Selection(
            namespace='b',
            name='a',
            ifname='fast0',
            ips=('10.0.0.2/24', 'fd00::2', '10.0.0.3'),
            mac='02:00:00:00:00:af',
            gateways=('10.0.0.1', 'fd00::1'),
            guid=GUID.lower(),
            extras=(
                'portMappings',
                'bandwidth',
                'cni-args',
            ),
        ),
    )


def test_what_asks_for_nothing_is_no_extra():
    element = {
        'name': 'a',
        'cni-args': None,
        'portMappings': [],
        'bandwidth': {},
        'default-route': [],
    }
    (entry,) = parse_networks(json.dumps([element]), 'mine')
    assert entry == Selection('mine', 'a', 'net1', gateways=())


@pytest.mark.parametrize('value', ['', '  ', '[]', ' [ ] '])
def test_no_networks(value):
    assert parse_networks(value, 'mine') == ()


def test_annotation_of_a_pod():
    metadata = {'namespace': 'mine', 'name': 'p', 'uid': 'u'}
    body = {'metadata': metadata}
    assert entries_of(body) == ()
    assert entries_of({'metadata': {**metadata, 'annotations': None}}) == ()
    metadata['annotations'] = {'k8s.v1.cni.cncf.io/networks': 'a'}
    assert entries_of(body) == (Selection('mine', 'a', 'net1'),)


LABEL = 'is not a DNS label; use a-z, 0-9 and - only, at most 63 of them.'
IFNAME = (
    'is not an interface name; use 1 to 15 of ASCII without space, slash, '
    'colon and %.'
)
BAD_SHORT = [
    ('a,,b', 'entry 2: it is empty; remove the comma.'),
    ('a,', 'entry 2: it is empty; remove the comma.'),
    ('/a', f"entry 1: namespace '' {LABEL}"),
    ('b/', f"entry 1: name '' {LABEL}"),
    ('a/b/c', f"entry 1: namespace 'a/b' {LABEL}"),
    ('a,B', f"entry 2: name 'B' {LABEL}"),
    ('-a', f"entry 1: name '-a' {LABEL}"),
    ('a b', f"entry 1: name 'a b' {LABEL}"),
    ('a\nb', f"entry 1: name 'a\\nb' {LABEL}"),
    ('a' * 64, f"entry 1: name '{'a' * 64}' {LABEL}"),
    ('@x', f"entry 1: name '' {LABEL}"),
    ('a@', f"entry 1: interface '' {IFNAME}"),
    ('a@b@c', "entry 1: 'a@b@c' has two @; keep one."),
    ('a@.', f"entry 1: interface '.' {IFNAME}"),
    ('a@..', f"entry 1: interface '..' {IFNAME}"),
    ('a@x/y', f"entry 1: interface 'x/y' {IFNAME}"),
    ('a@x y', f"entry 1: interface 'x y' {IFNAME}"),
    ('a@x:y', f"entry 1: interface 'x:y' {IFNAME}"),
    ('a@net%d', f"entry 1: interface 'net%d' {IFNAME}"),
    ('a@' + 'x' * 16, f"entry 1: interface '{'x' * 16}' {IFNAME}"),
    *(
        (
            f'a,b@{name}',
            f"entry 2: interface '{name}' is one that every pod has; name it "
            'otherwise (without a name, entry N is netN).',
        )
        for name in ('eth0', 'lo')
    ),
    (
        'a@x,b@x',
        "entry 2: interface 'x' is that of entry 1, too; name it otherwise "
        '(without a name, entry N is netN).',
    ),
    (
        'a@net2,b',
        "entry 2: interface 'net2' is that of entry 1, too; name it "
        'otherwise (without a name, entry N is netN).',
    ),
]


@pytest.mark.parametrize(('value', 'message'), BAD_SHORT)
def test_bad_short_form(value, message):
    with pytest.raises(InvalidAnnotation) as caught:
        parse_networks(value, 'mine')
    where = 'annotation k8s.v1.cni.cncf.io/networks'
    assert str(caught.value) == f'{where}, {message}'


BAD_ELEMENT = [
    ({'name': None}, 'name None is not a string; correct it.'),
    ({'name': 'A'}, f"name 'A' {LABEL}"),
    ({'namespace': ''}, f"namespace '' {LABEL}"),
    ({'namespace': 1}, 'namespace 1 is not a string; correct it.'),
    (
        {'ips': []},
        'ips is empty; add an address, or leave ips out.',
    ),
    ({'ips': '10.0.0.2'}, "ips '10.0.0.2' is not a list; correct it."),
    ({'ips': None}, 'ips None is not a list; correct it.'),
    *(
        (
            {'ips': ['10.0.0.2', bad]},
            f'ips: {bad!r} is not an IP address; write 192.168.2.7, '
            f'192.168.2.7/24, or the like in IPv6.',
        )
        for bad in (
            '10.0.0.256',
            '10.0.0.2/33',
            '10.0.0.2/',
            '10.0.0.2/255.255.255.0',
            'fe80::1%eth0',
            'fd00::1/129',
            '',
            167772162,
            None,
        )
    ),
    *(
        (
            {'mac': bad},
            f'mac {bad!r} is not a MAC address of an interface; write 6 '
            f'bytes, such as 02:00:00:00:00:07.',
        )
        for bad in (
            '02:00:00:00:00',
            '02:00:00:00:00:00:00:07',
            '02:00-00:00:00:07',
            '02:00:00:00:00:0g',
            '',
            '00:00:00:00:00:00',
            'ff:ff:ff:ff:ff:ff',
            '01:00:5e:00:00:01',
        )
    ),
    ({'mac': 2}, 'mac 2 is not a string; correct it.'),
    (
        {'infiniband-guid': '00:00:00:00:00:00:00:00'},
        "infiniband-guid '00:00:00:00:00:00:00:00' is not a GUID; write 8 "
        'bytes, such as 00:11:22:33:44:55:66:77.',
    ),
    (
        {'infiniband-guid': '02:00:00:00:00:07'},
        "infiniband-guid '02:00:00:00:00:07' is not a GUID; write 8 bytes, "
        f'such as {GUID}.',
    ),
    ({'interface': ''}, f"interface '' {IFNAME}"),
    ({'interface': 'x\x00'}, f"interface 'x\\x00' {IFNAME}"),
    ({'interface': '\ud800'}, f"interface '\\ud800' {IFNAME}"),
    ({'interface': None}, 'interface None is not a string; correct it.'),
    (
        {'default-route': '10.0.0.1'},
        "default-route '10.0.0.1' is not a list; correct it.",
    ),
    (
        {'default-route': ['10.0.0.1/24']},
        "default-route: '10.0.0.1/24' is not an IP address; write the "
        'address of the gateway, such as 192.168.2.1.',
    ),
    (
        {'default-route': ['10.0.0.1', '10.0.0.2']},
        "default-route '10.0.0.2' is the second for IPv4, after "
        "'10.0.0.1'; keep one in the whole annotation.",
    ),
    ({'portMappings': {}}, 'portMappings {} is not a list; correct it.'),
    ({'bandwidth': []}, 'bandwidth [] is not an object; correct it.'),
    ({'cni-args': 'x'}, "cni-args 'x' is not an object; correct it."),
    (
        {'ipam-claim-reference': {}},
        'ipam-claim-reference {} is not a string; correct it.',
    ),
    (
        {'ipam-claim-reference': 'x', 'ips': ['10.0.0.2']},
        'it has ips and ipam-claim-reference; keep one.',
    ),
]


@pytest.mark.parametrize(('keys', 'message'), BAD_ELEMENT)
def test_bad_element(keys, message):
    value = json.dumps([{'name': 'a'}, {'name': 'b', **keys}])
    with pytest.raises(InvalidAnnotation) as caught:
        parse_networks(value, 'mine')
    where = 'annotation k8s.v1.cni.cncf.io/networks, entry 2'
    assert str(caught.value) == f'{where}: {message}'


BAD_JSON = [
    ('{"name": "a"}', ": {'name': 'a'} is not a list; put it in square "),
    ('"a"', ": 'a' is not a list; put it in square brackets."),
    ('[1]', ', entry 1: 1 is not an object; write {"name": "NETWORK"}.'),
    ('["a"]', ', entry 1: \'a\' is not an object; write {"name": '),
    ('[{}]', ', entry 1: it has no name; add the name of the network.'),
    ('[{"name": "a"}', ": it is not JSON: Expecting ',' delimiter: line 1"),
    ('[' * 100_000, ': it is not JSON: maximum recursion depth'),
    ('[{"name": "a", "name": "b"}]', ": 'name' is there twice; keep one."),
    (f'["{"x" * 90}"]', f", entry 1: '{'x' * 76}... is not an object"),
    (
        '[{"name": "a", "interface": "x"}, {"name": "b", "interface": "x"}]',
        ", entry 2: interface 'x' is that of entry 1, too; name it ",
    ),
    (
        '[{"name": "a", "default-route": ["10.0.0.1", "fd00::1"]},'
        '{"name": "b", "default-route": ["fd00::2"]}]',
        ", entry 2: default-route 'fd00::2' is the second for IPv6, after "
        "'fd00::1'; keep one in the whole annotation.",
    ),
]


@pytest.mark.parametrize(('value', 'message'), BAD_JSON)
def test_bad_json_form(value, message):
    with pytest.raises(InvalidAnnotation) as caught:
        parse_networks(value, 'mine')
    where = 'annotation k8s.v1.cni.cncf.io/networks'
    assert str(caught.value).startswith(f'{where}{message}')


words = st.text('a1', min_size=1, max_size=10)
labels = st.lists(words, min_size=1, max_size=5).map('-'.join)
ifnames = st.text('aZ1._-!', max_size=14).map('x'.__add__)
macs = st.binary(min_size=5, max_size=5).map(
    lambda tail: f'02:{tail.hex(":")}'
)
addresses = st.ip_addresses().map(str)
gateways = st.none() | st.just(()) | addresses.map(lambda one: (one,))


@st.composite
def selections(draw, **more):
    """Entries with names of their own; only the first has gateways."""
    ifnames_drawn = draw(st.lists(st.none() | ifnames, max_size=5))
    found = []
    for position, ifname in enumerate(ifnames_drawn, 1):
        found.append(
            Selection(
                namespace=draw(labels),
                name=draw(labels),
                ifname=ifname or f'net{position}',
                **{
                    key: draw(strategy)
                    for key, strategy in more.items()
                    if key != 'gateways' or position == 1
                },
            )
        )
    unique = {entry.ifname for entry in found}
    return tuple(found) if len(unique) == len(found) else ()


def short_form(entry, position):
    network = entry.name
    if entry.namespace != 'mine':
        network = f'{entry.namespace}/{network}'
    if entry.ifname != f'net{position}':
        network = f'{network}@{entry.ifname}'
    return network


def element(entry):
    keys = {
        'name': entry.name,
        'namespace': entry.namespace,
        'interface': entry.ifname,
        'ips': entry.ips,
        'mac': entry.mac,
    }
    found = {key: value for key, value in keys.items() if value}
    if entry.gateways is not None:
        found['default-route'] = entry.gateways
    return found


@settings(deadline=None)
@given(selections())
def test_short_form_round_trip(entries):
    value = ' , '.join(
        short_form(entry, position)
        for position, entry in enumerate(entries, 1)
    )
    assert parse_networks(value, 'mine') == entries


@settings(deadline=None)
@given(
    selections(
        ips=st.lists(addresses, max_size=3).map(tuple),
        mac=st.just('') | macs,
        gateways=gateways,
    )
)
def test_json_form_round_trip(entries):
    value = json.dumps([element(entry) for entry in entries])
    assert parse_networks(value, 'mine') == entries


@settings(deadline=None)
@given(st.text() | st.text('ab1,/@[]{}":. -'))
def test_any_text_is_entries_or_a_refusal(value):
    with suppress(InvalidAnnotation):
        entries = parse_networks(value, 'mine')
        assert len({entry.ifname for entry in entries}) == len(entries)


def test_keys_that_nobody_knows_are_left_to_whose_network_it_is():
    value = '[{"name": "a", "interfaces": 1, "x.y/z": 2, "mac": "no"}]'
    (found,) = parse_networks(value.replace(', "mac": "no"', ''), 'mine')
    assert found.unknown == ('interfaces',)
    with pytest.raises(InvalidAnnotation, match='mac'):
        parse_networks(value, 'mine')


def test_an_annotation_of_any_size_is_read_in_one_pass():
    """Comparisons are counted: each key is compared with few others."""
    compared = itertools.count()

    class Key(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other):
            next(compared)
            return str.__eq__(self, other)

    pairs = [(Key(f'k{number}.x'), 1) for number in range(5000)]
    hook = {}

    def remember(_text, object_pairs_hook):
        hook['found'] = object_pairs_hook(pairs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json, 'loads', remember)
        annotation.read_json('', AssertionError)
    assert len(hook['found']) == 5000
    assert next(compared) < 5000
