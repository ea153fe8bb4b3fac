# SPDX-License-Identifier: Apache-2.0
"""VIFs of the local driver: what a pod gets, keeps and gives back."""

import threading

import pytest
from oslo_config import cfg

from kuryr_sriov import exceptions, model
from kuryr_sriov.drivers.local import LocalVIFDriver, assignment

SUBNETS = """
subnets:
- id: four
  network: net1
  physnet: physnet22
  cidr: 192.168.2.0/29
  gateway: 192.168.2.1
  vlan: 3501
  mtu: 9000
  dns: [192.168.2.1]
  routes: [{destination: 10.0.0.0/8, gateway: 192.168.2.1}]
- id: six
  network: net1
  physnet: physnet22
  cidr: 2001:db8::/64
  gateway: fe80::1
  vlan: 3501
  mtu: 9000
  dns: ['2001:db8::53']
- {id: far, network: net2, physnet: physnet23, cidr: 192.168.2.0/29}
"""

WEB = model.Pod('ns', 'web', 'uid-web', 'node-1')
DB = model.Pod('ns', 'db', 'uid-db', 'node-1')


@pytest.fixture
def conf(tmp_path):
    options = cfg.ConfigOpts()
    options.register_opts(LocalVIFDriver.options, group='sriov_local')
    options([], default_config_files=[], default_config_dirs=[])
    path = tmp_path / 'subnets.yaml'
    path.write_text(SUBNETS)
    options.set_override('subnets_file', str(path), 'sriov_local')
    options.set_override(
        'database', str(tmp_path / 'state' / 'local.sqlite'), 'sriov_local'
    )
    return options


@pytest.fixture
def driver(conf):
    return LocalVIFDriver(conf.sriov_local)


@pytest.fixture
def ask(driver):
    """Request one VIF for a pod."""

    def ask_for(pod, *subnet_ids, ifname='net1', **wishes):
        wish = request(driver, *subnet_ids, ifname=ifname, **wishes)
        (vif,) = driver.request_vifs(pod, [wish])
        return vif

    return ask_for


def request(driver, *subnet_ids, ifname='net1', **wishes):
    subnets = tuple(driver.describe_subnet(each) for each in subnet_ids)
    return model.NetworkRequest(
        'ns',
        'nad',
        ifname,
        resource='intel.com/physnet22',
        subnets=subnets,
        **wishes,
    )


def pod(number):
    return model.Pod('ns', f'pod-{number}', f'uid-{number}', 'node-1')


def location(pci_slot='0000:02:10.0', physnet='physnet22', node='node-1'):
    return model.Location(node, pci_slot, '8086:1520', physnet)


def test_vif_is_what_the_subnet_says(ask):
    vif = ask(WEB, 'four')
    assert vif == model.Vif(
        id=vif.id,
        ifname='net1',
        network='ns/nad',
        resource='intel.com/physnet22',
        physnet='physnet22',
        mac=vif.mac,
        addresses=('192.168.2.2/29',),
        routes=(model.Route('10.0.0.0/8', '192.168.2.1'),),
        dns=('192.168.2.1',),
        vlan=3501,
        mtu=9000,
    )
    assert len(vif.id) == 36
    assert vif.mac.startswith('fa:16:3e:')


def test_dual_stack(ask):
    vif = ask(WEB, 'six', 'four')
    assert vif.addresses == ('2001:db8::1/64', '192.168.2.2/29')
    assert vif.dns == ('2001:db8::53', '192.168.2.1')


def test_lowest_free_address(driver, ask):
    ask(WEB, 'four')
    ask(DB, 'four', ips=('192.168.2.4',))
    third = model.Pod('ns', 'third', 'uid-third')
    assert ask(third, 'four').addresses == ('192.168.2.3/29',)
    driver.release_vifs(WEB)
    fourth = model.Pod('ns', 'fourth', 'uid-fourth')
    assert ask(fourth, 'four').addresses == ('192.168.2.2/29',)


def test_one_address_on_two_networks(ask):
    asked = {'ips': ('192.168.2.2',), 'mac': '02:00:00:00:00:01'}
    ask(WEB, 'four', **asked)
    assert ask(DB, 'far', **asked).addresses == ('192.168.2.2/29',)


def test_the_same_request_gets_the_same_vif(conf, ask):
    vif = ask(WEB, 'four')
    again = LocalVIFDriver(conf.sriov_local)
    assert again.request_vifs(WEB, [request(again, 'four')]) == (vif,)
    assert len(list(again.list_vifs())) == 1


def test_a_request_that_changes_before_the_vif_is_in_use(driver, ask):
    ask(WEB, 'four')
    changed = ask(WEB, 'four', ips=('192.168.2.5',))
    assert changed.addresses == ('192.168.2.5/29',)
    assert [owned.vif for owned in driver.list_vifs()] == [changed]


def test_a_request_that_changes_while_the_vif_is_in_use(driver, ask):
    vif = driver.activate_vif(WEB, ask(WEB, 'four'), location())
    with pytest.raises(exceptions.ProviderRefused) as error:
        ask(WEB, 'four', ips=('192.168.2.5',))
    assert 'pod ns/web: net1 was made for' in str(error.value)
    assert '"ips": ["192.168.2.5"]}; recreate the pod' in str(error.value)
    assert ask(WEB, 'four') == vif


def test_all_or_none(driver):
    wishes = [
        request(driver, 'four', ifname='net1'),
        request(driver, 'far', ifname='net2', ips=('192.168.9.9',)),
    ]
    with pytest.raises(exceptions.ProviderRefused):
        driver.request_vifs(WEB, wishes)
    assert driver.list_vifs() == []


def test_exhaustion_names_subnet_and_numbers(ask):
    for count in range(5):
        ask(pod(count), 'four')
    with pytest.raises(exceptions.ProviderExhausted) as error:
        ask(DB, 'four')
    assert str(error.value).startswith(
        'subnet four (192.168.2.0/29): all 5 addresses of its pools are in use'
    )


@pytest.mark.parametrize('ip', ['192.168.2.5', '192.168.2.5/29'])
def test_asked_for_address(ask, ip):
    assert ask(WEB, 'four', ips=(ip,)).addresses == ('192.168.2.5/29',)


def test_asked_for_address_of_one_ip_version(ask):
    vif = ask(WEB, 'four', 'six', ips=('2001:DB8::7',))
    assert vif.addresses == ('2001:db8::7/64', '192.168.2.2/29')


def test_two_addresses_of_one_subnet(ask):
    vif = ask(WEB, 'four', ips=('192.168.2.6', '192.168.2.3'))
    assert vif.addresses == ('192.168.2.6/29', '192.168.2.3/29')


def test_taken_address_names_its_holder(ask):
    ask(DB, 'four', ips=('192.168.2.5',))
    with pytest.raises(exceptions.ProviderExhausted) as error:
        ask(WEB, 'four', ips=('192.168.2.5',))
    assert str(error.value) == (
        'ns/nad (net1) asks for 192.168.2.5, which ns/db (net1) has; '
        'ask for another, or delete that pod'
    )


@pytest.mark.parametrize(
    ('ip', 'why'),
    [
        ('10.1.1.1', 'which is not in 192.168.2.0/29 or 2001:db8::/64'),
        ('192.168.2.5/24', 'but the prefix of its subnet is 192.168.2.0/29'),
        ('192.168.2.0', 'which no host may have in 192.168.2.0/29'),
        ('192.168.2.7', 'which no host may have in 192.168.2.0/29'),
        ('2001:db8::', 'which no host may have in 2001:db8::/64'),
        ('192.168.2.1', 'the gateway of subnet four'),
    ],
)
def test_address_that_cannot_be_had(ask, ip, why):
    with pytest.raises(exceptions.ProviderRefused) as error:
        ask(WEB, 'four', 'six', ips=(ip,))
    assert f'asks for {ip}, {why}' in str(error.value)


def test_one_address_asked_for_twice(ask):
    with pytest.raises(exceptions.ProviderRefused, match='address twice'):
        ask(WEB, 'four', ips=('192.168.2.5', '192.168.2.5/29'))


def test_asked_for_mac(ask):
    assert ask(WEB, 'four', mac='02:00:00:00:00:07').mac == '02:00:00:00:00:07'


@pytest.mark.parametrize('mac', ['01:00:5e:00:00:01', '00:00:00:00:00:00'])
def test_mac_that_is_not_unicast(ask, mac):
    with pytest.raises(exceptions.ProviderRefused, match='not a unicast'):
        ask(WEB, 'four', mac=mac)


def test_taken_mac_names_its_holder(ask):
    ask(DB, 'four', mac='02:00:00:00:00:07')
    with pytest.raises(exceptions.ProviderExhausted) as error:
        ask(WEB, 'four', mac='02:00:00:00:00:07')
    assert 'MAC 02:00:00:00:00:07, which ns/db (net1) has' in str(error.value)


def test_generated_mac_avoids_those_in_use_on_any_network(ask):
    first, second, *_ = assignment.generated_macs(WEB, 'net1')
    ask(DB, 'far', mac=first)
    assert ask(WEB, 'four').mac == second


def test_no_generated_mac_is_free(driver, ask):
    for count, mac in enumerate(assignment.generated_macs(WEB, 'net1')):
        ask(pod(count), 'six', mac=mac)
    with pytest.raises(exceptions.ProviderExhausted, match='64 generated'):
        ask(WEB, 'four')


@pytest.mark.parametrize('gateways', [None, ()])
def test_no_default_route_unless_asked_for(ask, gateways):
    assert ask(WEB, 'four', gateways=gateways).gateways == ()


@pytest.mark.parametrize('gateway', ['192.168.2.3', 'fe80::1', '2001:db8::1'])
def test_asked_for_default_route(ask, gateway):
    vif = ask(WEB, 'four', 'six', gateways=(gateway,))
    assert vif.gateways == (gateway,)


def test_default_route_in_the_form_of_rfc_5952(ask):
    assert ask(WEB, 'six', gateways=('FE80:0::1',)).gateways == ('fe80::1',)


def test_unknown_subnet(driver):
    with pytest.raises(exceptions.ProviderRefused) as error:
        driver.describe_subnet('nowhere')
    assert 'no subnet nowhere in' in str(error.value)
    assert 'it has four, six, far' in str(error.value)


def owned(driver):
    return [(o.pod.uid, o.vif, o.placed) for o in driver.list_vifs()]


def test_active_once_it_has_a_vf(driver, ask):
    vif = ask(WEB, 'four')
    assert not vif.active
    active = driver.activate_vif(WEB, vif, location())
    assert active.active
    assert driver.activate_vif(WEB, vif, location()) == active
    assert owned(driver) == [('uid-web', active, True)]
    assert ask(WEB, 'four') == active


def test_active_on_another_vf(driver, ask):
    vif, other = ask(WEB, 'four'), ask(DB, 'four')
    driver.activate_vif(WEB, vif, location())
    driver.activate_vif(WEB, vif, location(pci_slot='0000:02:10.2'))
    assert driver.activate_vif(DB, other, location()).active


def test_vf_of_another_vif(driver, ask):
    driver.activate_vif(DB, ask(DB, 'four'), location())
    with pytest.raises(exceptions.DeviceBusy) as error:
        driver.activate_vif(WEB, ask(WEB, 'four'), location())
    assert 'VF 0000:02:10.0 of node node-1 belongs to ns/db (net1)' in str(
        error.value
    )


def test_the_same_pci_address_on_another_node(driver, ask):
    driver.activate_vif(DB, ask(DB, 'four'), location())
    elsewhere = model.Pod('ns', 'web', 'uid-web', 'node-2')
    vif = ask(elsewhere, 'four')
    assert driver.activate_vif(elsewhere, vif, location(node='node-2')).active


def test_vf_on_another_wire(driver, ask):
    with pytest.raises(exceptions.ProviderRefused, match='is on physnet23'):
        driver.activate_vif(WEB, ask(WEB, 'far'), location())


def test_released_vif_is_not_activated(driver, ask):
    vif = ask(WEB, 'four')
    driver.release_vifs(WEB)
    with pytest.raises(exceptions.ProviderRefused, match='recreate the pod'):
        driver.activate_vif(WEB, vif, location())


def test_release_is_idempotent_and_of_one_pod_alone(driver, ask):
    driver.request_vifs(
        WEB, [request(driver, 'four'), request(driver, 'six', ifname='net2')]
    )
    kept = ask(DB, 'four')
    driver.release_vifs(WEB)
    driver.release_vifs(WEB)
    assert owned(driver) == [('uid-db', kept, False)]
    assert ask(WEB, 'four').addresses == ('192.168.2.2/29',)


def test_threads(driver):
    def run(thread):
        for count in range(6):
            asked = [request(driver, 'six')]
            vifs.extend(driver.request_vifs(pod((thread, count)), asked))

    vifs = []
    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({vif.addresses for vif in vifs}) == 48
    assert len({vif.mac for vif in vifs}) == 48
