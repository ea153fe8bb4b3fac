# SPDX-License-Identifier: Apache-2.0
# Every target sets up what it needs. `make` lists them.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
COVERAGE ?= 95
# Covered by the tests against a real Neutron, and a real API server.
REAL = */drivers/neutron/*,*/clients/neutron.py,*/controller/controller_daemon.py,*/controller/startup.py

CLUSTER = PYTHONPATH=.:tests:tests/cluster:tests/kubernetes:tests/neutron \
    $(BIN)/python -m clusterlab

.DEFAULT_GOAL := help
.PHONY: cluster cluster-shell images help demo test cni neutron kubernetes coverage lab lab-shell lab-bench lab-bench-cni check bench \
    bench-neutron bench-scale bench-watches scale-page extend docs sample clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

$(READY): setup.cfg requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[node,controller,daemon,test]'
	@touch $@

demo: $(READY)  ## the how-to's pod gets its two VFs, on a simulated node
	$(BIN)/kuryr-sriov demo

test: $(READY)  ## all tests that need nothing but Python, with coverage
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n 2 $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=$(COVERAGE) --omit='$(REAL)'

cni: $(READY)  ## the CNI plugin: built, and tested with the node daemon
	$(BIN)/coverage run -m pytest $(ARGS) tests/cni

neutron: $(READY)  ## the tests against a real Neutron and Keystone
	$(BIN)/coverage run -m pytest -n 2 --dist worksteal $(ARGS) tests/neutron

kubernetes: $(READY)  ## the tests against a real API server of Kubernetes
	$(BIN)/coverage run -m pytest -n 2 --dist worksteal $(ARGS) tests/kubernetes

coverage: $(READY)  ## of "make test", "neutron" and "kubernetes" together
	$(BIN)/coverage combine --quiet --append
	$(BIN)/coverage report --fail-under=$(COVERAGE)

lab: $(READY)  ## the tests that need hardware: VFs in an emulated machine
	python3 -m tools.lab test --everywhere $(ARGS)

lab-shell: $(READY)  ## a root shell in that machine
	python3 -m tools.lab shell

cluster: $(READY)  ## the how-to on a real cluster of one node; as root (ARGS="-m slow": the rest)
	$(CLUSTER) test $(ARGS)

cluster-shell: $(READY)  ## that cluster with kubectl, for a person; as root
	$(CLUSTER) shell

images: $(READY)  ## both daemons' images as archives; as root
	$(CLUSTER) images

check: $(READY)  ## ruff, mypy --strict, and the layers of the house
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/house

bench: $(READY)  ## what importing, attaching and a full node cost
	$(BIN)/python benchmarks/bench.py --json benchmarks/results/bench.json
	$(BIN)/python benchmarks/bench_node.py --json benchmarks/results/node.json

lab-bench: $(READY)  ## attach and detach beside their floor, on that hardware
	python3 -m tools.lab run -- $(abspath $(BIN)/python) \
	    benchmarks/lab_bench.py

lab-bench-cni: $(READY)  ## the whole ADD and DEL, plugin and daemon, on that hardware
	python3 -m tools.lab run -- $(abspath $(BIN)/python) \
	    benchmarks/lab_cni.py

bench-neutron: $(READY)  ## requests to Neutron for each pod
	$(BIN)/python benchmarks/bench_neutron.py

bench-scale: $(READY)  ## what thousands of pods cost the controller
	$(BIN)/python benchmarks/bench_scale.py $(ARGS)

bench-watches: $(READY)  ## what thousands of nodes cost the API server
	$(BIN)/python benchmarks/bench_watches.py

scale-page: $(READY)  ## figures of doc/source/scale.rst, from those three
	$(BIN)/python benchmarks/scale_page.py

extend:  ## a vendor's wheel and ours, in an empty environment
	PYTHON=$(PYTHON) tools/extend.sh

docs: $(READY)  ## the documentation, in doc/build/html
	$(BIN)/pip install --quiet --editable '.[docs]'
	$(BIN)/sphinx-build -W -q -b html doc/source doc/build/html

sample: $(READY)  ## the sample kuryr.conf, from the options
	$(BIN)/oslo-config-generator --namespace kuryr_sriov --namespace kuryr_sriov_daemon --wrap-width 79 \
	    --output-file etc/kuryr-sriov.conf.sample

clean:  ## remove what the targets made here
	rm -rf $(VENV) .coverage* .hypothesis .mypy_cache .ruff_cache build dist
