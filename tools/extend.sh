#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a vendor does, with what is committed: both wheels into an empty
# environment, the vendor's own tests and types, the demo with its plugins, its
# options in the sample.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

step() { printf '\n== %s\n' "$*"; }

step build both wheels
git clone --quiet "$root" "$work/kuryr-sriov"
mv "$work/kuryr-sriov/examples/vendor-driver" "$work/vendor"
mv "$work/kuryr-sriov/examples/first-driver" "$work/first"
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" wheel --quiet --no-deps --wheel-dir "$work/wheels" \
    "$work/kuryr-sriov" "$work/vendor"
ls "$work/wheels"

step install them
"$work/venv/bin/pip" install --quiet --find-links "$work/wheels" \
    "$work"/wheels/*.whl 'acme-crane[test]'
PATH=$work/venv/bin:$PATH
cd "$work"

step the tests and types of the vendor
(cd vendor && pytest -q tests && mypy --strict --no-error-summary -p acme_crane)

step the demo with the plugins of the vendor
cp -r venv/share/kuryr-sriov/howto files
cp vendor/kuryr.conf files
kuryr-sriov demo --files files
kuryr-sriov demo --files files --json >demo.json
grep -q '"binding_driver": "crane"' demo.json

step the options of the vendor in the sample
oslo-config-generator --namespace kuryr_sriov --output-file sample.conf
sed -n '/^\[acme\]/,/^\[/p' sample.conf | grep '^#[a-z]' | tee options.txt
for option in max_tx_rate subnets port_dir; do
    grep -q "^#$option =" options.txt
done

step a check with the plugins of the vendor
kuryr-sriov check --config-file vendor/kuryr.conf >check.txt || true
grep -E '^ok +(options|drivers)|(binding|subnet) driver (crane|listed)' check.txt
grep -q 'binding driver crane' check.txt

step the first driver of somebody new
pip install --quiet ./first
(cd first && pytest -q)
kuryr-sriov check --config-file first/kuryr.conf >check.txt || true
grep 'binding driver acme' check.txt
