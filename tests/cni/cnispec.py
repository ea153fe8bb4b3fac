# SPDX-License-Identifier: Apache-2.0
"""What a result of ADD may be, by the CNI specification of each version."""

import ipaddress
import re

MAC = re.compile('([0-9a-f]{2}:){5}[0-9a-f]{2}')
PCI = re.compile('[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}[.][0-7]')


def text(value):
    assert isinstance(value, str)
    assert value


def number(value):
    assert isinstance(value, int)


def mac(value):
    assert MAC.fullmatch(value)


def pci(value):
    assert PCI.fullmatch(value)


def address(value):
    ipaddress.ip_address(value)


def prefix(value):
    assert '/' in value
    ipaddress.ip_interface(value)


def family(value):
    assert value in ('4', '6')


def words(value):
    assert isinstance(value, list)
    for word in value:
        text(word)


INTERFACE = {'name': text, 'mac': mac, 'sandbox': text}
IP = {'address': prefix, 'gateway': address, 'interface': number}
ROUTE = {'dst': prefix, 'gw': address}
DNS = {'nameservers': words, 'domain': text, 'search': words, 'options': words}
FIELDS = {
    '0.3.1': (INTERFACE, {'version': family, **IP}, ROUTE),
    '0.4.0': (INTERFACE, {'version': family, **IP}, ROUTE),
    '1.0.0': (INTERFACE, IP, ROUTE),
    '1.1.0': (
        {**INTERFACE, 'mtu': number, 'socketPath': text, 'pciID': pci},
        IP,
        {**ROUTE, 'mtu': number, 'advmss': number, 'priority': number},
    ),
}
"""Keys of an interface, of an address and of a route."""

NEEDED = {'name', 'address', 'dst', 'version'}


def check_fields(value, fields):
    """Whether an object has what it needs, and nothing unknown."""
    assert value.keys() <= fields.keys()
    assert NEEDED & fields.keys() <= value.keys()
    for key, found in value.items():
        fields[key](found)


def check_result(version, result):
    """Whether it is a result of that version."""
    interface, ip, route = FIELDS[version]
    keys = {'cniVersion', 'interfaces', 'ips', 'routes', 'dns'}
    assert result.keys() <= keys
    assert result['cniVersion'] == version
    for each in result['interfaces']:
        check_fields(each, interface)
    for each in result['ips']:
        check_fields(each, ip)
        assert 0 <= each['interface'] < len(result['interfaces'])
        if 'version' in each:
            found = ipaddress.ip_interface(each['address']).version
            assert each['version'] == str(found)
    for each in result.get('routes', ()):
        check_fields(each, route)
    check_fields(result.get('dns', {}), DNS)
