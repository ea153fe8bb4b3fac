# SPDX-License-Identifier: Apache-2.0
"""The sample configuration has every option there is."""

from pathlib import Path

from kuryr_sriov.config import catalogue, loading

ROOT = Path(__file__).parents[3]


def test_drivers_bring_their_own_options():
    sections = dict(catalogue.list_opts())
    assert {o.name for o in sections['sriov']} >= {
        o.name for o in loading.OPTIONS
    }
    assert {o.name for o in sections['sriov_local']} >= {'subnets_file'}


def test_no_option_is_listed_twice_or_without_help():
    for _, section in catalogue.list_opts():
        names = [option.name for option in section]
        assert len(names) == len(set(names))
        assert all(option.help for option in section)


def test_the_sample_in_the_tree_is_up_to_date():
    """Otherwise run ``make sample``."""
    sample = (ROOT / 'etc' / 'kuryr-sriov.conf.sample').read_text()
    for name, section in catalogue.list_opts():
        assert f'\n[{name}]\n' in f'\n{sample}'
        for option in section:
            assert f'\n#{option.dest} =' in sample, option.name
