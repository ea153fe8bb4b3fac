# SPDX-License-Identifier: Apache-2.0
"""The local driver's file of subnets: what it says, and every mistake."""

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.drivers.local import ip_ranges, subnets_file

NET1 = '{id: a, network: net1, physnet: physnet22, cidr: 192.168.2.0/24}'
SIX1 = '{id: b, network: net1, physnet: physnet22, cidr: "2001:db8::/64"}'


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        path = tmp_path / 'subnets.yaml'
        path.write_text(text)
        return subnets_file.read_subnets(str(path))

    return read_text


@pytest.fixture
def problems(read):
    """What is wrong with a file, without its path."""

    def problems_of(text):
        with pytest.raises(exceptions.ConfigurationError) as error:
            read(text)
        paths = {
            each.partition(': ')[0].rpartition('/')[2]
            for each in error.value.problems
        }
        assert paths == {'subnets.yaml'}
        return [each.partition(': ')[2] for each in error.value.problems]

    return problems_of


@pytest.fixture
def problem(problems):
    """The one thing that is wrong with one subnet, some keys replaced."""

    def problem_of(**replaced):
        keys = {
            'id': 'a',
            'network': 'net1',
            'physnet': 'physnet22',
            'cidr': '192.168.2.0/24',
        }
        lines = [f'{key}: {text}' for key, text in (keys | replaced).items()]
        (found,) = problems('subnets: [{' + ', '.join(lines) + '}]')
        where = f'subnets 1 ({keys["id"]}): '
        assert found.startswith(where)
        return found.removeprefix(where)

    return problem_of


def texts(pools):
    return [
        (
            str(ip_ranges.to_address(pool.start)),
            str(ip_ranges.to_address(pool.stop - 1)),
        )
        for pool in pools
    ]


def test_everything_said(read):
    found = read("""
subnets:
- id: a
  network: net1
  physnet: physnet22
  cidr: 192.168.2.0/24
  gateway: 192.168.2.1
  vlan: 3501
  mtu: 9000
  allocation_pools:
  - {start: 192.168.2.100, end: 192.168.2.200}
  - {start: 192.168.2.1, end: 192.168.2.9}
  dns: [192.168.2.1, '2001:db8::53']
  routes:
  - {destination: 10.0.0.0/8, gateway: 192.168.2.254}
  - {destination: 172.16.0.0/12}
""")
    assert found['a'].subnet == model.Subnet(
        'a',
        'net1',
        'physnet22',
        '192.168.2.0/24',
        gateway='192.168.2.1',
        vlan=3501,
        mtu=9000,
        routes=(
            model.Route('10.0.0.0/8', '192.168.2.254'),
            model.Route('172.16.0.0/12'),
        ),
        dns=('192.168.2.1', '2001:db8::53'),
    )
    assert texts(found['a'].pools) == [
        ('192.168.2.100', '192.168.2.200'),
        ('192.168.2.2', '192.168.2.9'),
    ]


def test_only_what_is_needed(read):
    found = read(f'subnets: [{NET1}, {SIX1}]')
    assert found['a'].subnet == model.Subnet(
        'a', 'net1', 'physnet22', '192.168.2.0/24'
    )
    assert texts(found['a'].pools) == [('192.168.2.1', '192.168.2.254')]
    assert texts(found['b'].pools) == [
        ('2001:db8::1', '2001:db8::ffff:ffff:ffff:ffff')
    ]


def test_pools_may_follow_each_other_at_once(read):
    pools = (
        '[{start: 192.168.2.1, end: 192.168.2.8},'
        ' {start: 192.168.2.9, end: 192.168.2.10}]'
    )
    found = read(f'subnets: [{NET1[:-1]}, allocation_pools: {pools}}}]')
    assert texts(found['a'].pools) == [
        ('192.168.2.1', '192.168.2.8'),
        ('192.168.2.9', '192.168.2.10'),
    ]


def test_gateway_is_not_given_out(read):
    found = read(f'subnets: [{NET1[:-1]}, gateway: 192.168.2.100}}]')
    assert texts(found['a'].pools) == [
        ('192.168.2.1', '192.168.2.99'),
        ('192.168.2.101', '192.168.2.254'),
    ]


def test_link_local_gateway(read):
    found = read(f'subnets: [{SIX1[:-1]}, gateway: "fe80::1"}}]')
    assert found['b'].subnet.gateway == 'fe80::1'


def test_every_mistake_is_reported_together(problems):
    found = problems("""
subnets:
- {id: a, network: 7, physnet: physnet22, cidr: 192.168.2.5/24, vlan: 5000}
- {id: a, network: net2, cidr: 10.0.0.0/8, gateway: 11.0.0.1, vlna: 3}
- nonsense
- {id: b, network: net2, physnet: physnet22, cidr: 10.0.0.0/8}
""")
    assert found == [
        'subnets 1 (a): network 7: must be text; put it in quotes',
        "subnets 1 (a): cidr '192.168.2.5/24': is no prefix; "
        'did you mean 192.168.2.0/24?',
        'subnets 1 (a): vlan 5000: must be a number from 0 to 4094',
        'subnets 2 (a): another subnet has this id; give each its own',
        'subnets 2 (a): physnet is missing; add "physnet: ..."',
        "subnets 2 (a): unknown key 'vlna'; correct or remove it",
        'subnets 2 (a): gateway 11.0.0.1 is no address that a host may '
        'have in 10.0.0.0/8; correct it, or leave it out',
        'subnets 3: must be "key: value" lines',
    ]


@pytest.mark.parametrize(
    ('key', 'text', 'expected'),
    [
        ('network', '""', "network '': must be text"),
        ('cidr', '192.168.2.0', 'did you mean 192.168.2.0/32?'),
        ('cidr', 'x/24', "cidr 'x/24': is no prefix; write one like"),
        ('cidr', '1.2.3.4/33', "cidr '1.2.3.4/33': is no prefix"),
        ('gateway', '192.168.2', "gateway '192.168.2': is no address"),
        ('gateway', '192.168.2.255', 'gateway 192.168.2.255 is no address'),
        ('gateway', '"fe80::1"', 'gateway fe80::1 is no address'),
        ('vlan', '4095', 'vlan 4095: must be a number from 0 to 4094'),
        ('vlan', '-1', 'vlan -1: must be a number'),
        ('vlan', 'yes', 'vlan True: must be a number'),
        ('vlan', '"3501"', "vlan '3501': must be a number"),
        ('mtu', '67', 'mtu 67: must be a number from 68 to 65535'),
        ('dns', '1.1.1.1', "dns '1.1.1.1': must be a list"),
        ('dns', '[one]', "dns ['one']: is no address"),
        ('routes', '{}', 'routes {}: must be a list'),
        ('routes', '[{gateway: 192.168.2.1}]', 'destination is missing'),
        ('routes', '[{destination: ten}]', "destination 'ten': is no prefix"),
        (
            'routes',
            '[{destination: 10.0.0.0/8, gateway: "2001:db8::1"}]',
            'routes 1: destination 10.0.0.0/8 and gateway 2001:db8::1 are of '
            'different IP versions',
        ),
        (
            'allocation_pools',
            '[{start: 192.168.2.9, end: 192.168.2.8}]',
            'end 192.168.2.8 is before start 192.168.2.9; swap them',
        ),
        (
            'allocation_pools',
            '[{start: 192.168.2.0, end: 192.168.2.8}]',
            'not within what hosts may have of 192.168.2.0/24: 192.168.2.1 '
            'to 192.168.2.254',
        ),
        (
            'allocation_pools',
            '[{start: 192.168.2.1, end: "2001:db8::1"}]',
            'not within what hosts may have',
        ),
        (
            'allocation_pools',
            '[{start: 192.168.2.1, end: 192.168.2.8},'
            ' {start: 192.168.2.8, end: 192.168.2.9}]',
            'allocation_pools overlap at 192.168.2.8',
        ),
        (
            'allocation_pools',
            '[{start: 192.168.2.1}]',
            'allocation_pools 1: end is missing',
        ),
    ],
)
def test_mistake(problem, key, text, expected):
    assert expected in problem(**{key: text})


def test_ipv6_needs_an_mtu_of_1280(problem):
    found = problem(cidr='"2001:db8::/64"', mtu='1279')
    assert found == 'mtu 1279: IPv6 needs 1280 or more'


def test_nothing_to_give_out(problem):
    found = problem(cidr='192.168.2.7/32', gateway='192.168.2.7')
    assert found.startswith('no address is left for pods')


@pytest.mark.parametrize('text', ['', '[]', 'subnets:', 'subnets: []'])
def test_no_subnets(problems, text):
    assert 'there are no subnets; add some under "subnets:"' in problems(text)


def test_one_id_twice(problems):
    other = NET1.replace('net1', 'net2').replace('22', '23')
    assert problems(f'subnets: [{NET1}, {other}]') == [
        'subnets 2 (a): another subnet has this id; give each its own'
    ]


def test_overlap_on_one_network(problems):
    other = NET1.replace('id: a', 'id: c').replace('.2.0/24', '.0.0/16')
    assert problems(f'subnets: [{NET1}, {SIX1}, {other}]') == [
        'subnets a and c of network net1 overlap: 192.168.2.0/24 and '
        '192.168.0.0/16; correct one cidr'
    ]


def test_overlap_on_two_networks_is_fine(read):
    other = NET1.replace('id: a', 'id: c').replace('net1', 'net2')
    assert len(read(f'subnets: [{NET1}, {other[:-1]}, vlan: 7}}]')) == 2


def test_two_networks_on_one_wire(problems):
    other = SIX1.replace('net1', 'net2')
    assert problems(f'subnets: [{NET1}, {other}]') == [
        'subnets a and b are on networks net1 and net2, but both on VLAN 0 '
        'of physnet22: that is one network'
    ]


@pytest.mark.parametrize('key', ['vlan', 'mtu'])
def test_one_network_with_two_of(problems, key):
    assert problems(f'subnets: [{NET1}, {SIX1[:-1]}, {key}: 1400}}]') == [
        'subnets a and b of network net1 differ in physnet, vlan or mtu; '
        'a network has one of each'
    ]


def test_id_is_no_text(problems):
    text = f'subnets: [{NET1.replace("id: a", "id: 7")}]'
    assert problems(text) == [
        'subnets 1: id 7: must be text; put it in quotes'
    ]


def test_no_file(tmp_path):
    with pytest.raises(exceptions.ConfigurationError) as error:
        subnets_file.read_subnets(str(tmp_path / 'absent'))
    assert '[sriov_local] subnets_file' in str(error.value)
    assert 'No such file' in str(error.value)


@pytest.mark.parametrize('content', [b'subnets: [', b'\xff\xfe\x00'])
def test_no_yaml(tmp_path, content):
    path = tmp_path / 'subnets.yaml'
    path.write_bytes(content)
    with pytest.raises(exceptions.ConfigurationError, match='no YAML'):
        subnets_file.read_subnets(str(path))
