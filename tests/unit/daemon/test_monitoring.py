# SPDX-License-Identifier: Apache-2.0
"""Dashboard and alert rules are what Grafana and Prometheus can read."""

import json

import monitoring
import pytest
import yaml

DASHBOARD = json.loads((monitoring.FOLDER / 'dashboard.json').read_text())
(GROUP,) = yaml.safe_load((monitoring.FOLDER / 'alerts.yaml').read_text())[
    'groups'
]
PANELS = [panel for panel in DASHBOARD['panels'] if panel['type'] != 'row']


@pytest.mark.parametrize('panel', PANELS, ids=lambda panel: panel['title'])
def test_a_panel_asks_for_metrics_of_ours(panel):
    for target in panel['targets']:
        assert monitoring.NAME.search(target['expr'])
        assert target['expr'].count('(') == target['expr'].count(')')


def test_no_panel_lies_over_another():
    cells = [
        (x, y)
        for panel in DASHBOARD['panels']
        for place in [panel['gridPos']]
        for x in range(place['x'], place['x'] + place['w'])
        for y in range(place['y'], place['y'] + place['h'])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23


@pytest.mark.parametrize(
    'rule', GROUP['rules'], ids=lambda rule: rule['alert']
)
def test_an_alert_says_what_it_means_and_what_to_do(rule):
    assert monitoring.NAME.search(rule['expr'])
    assert rule['expr'].count('(') == rule['expr'].count(')')
    assert rule['labels']['severity'] in ('warning', 'critical')
    assert set(rule['annotations']) == {'summary', 'description'}


def test_each_metric_is_one_of_a_daemon():
    names = {
        name
        for file in monitoring.FOLDER.iterdir()
        for name in monitoring.NAME.findall(file.read_text())
    }
    assert names == (
        monitoring.named_metrics('node')
        | monitoring.named_metrics('controller')
    )
