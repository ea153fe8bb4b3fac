# SPDX-License-Identifier: Apache-2.0
# What a person sees who asked for a shell in the lab.
echo 'making the VFs ...'
python3 - <<'PYTHON'
import json, os
with open(os.environ['KURYR_SRIOV_LAB']) as source:
    pfs = json.load(source)['pfs']
for pf in pfs:
    path = f'/sys/bus/pci/devices/{pf["pci"]}'
    with open(f'{path}/sriov_numvfs', 'w') as out:
        out.write(str(pf['vfs']))
    print(f'{pf["name"]}  {pf["pci"]}  {pf["wire"]}  {pf["vfs"]} VFs ',
          ' '.join(os.listdir(f'{path}/net')))
PYTHON
echo 'This is the lab: all but $KURYR_SRIOV_LAB_RESULTS is gone when you exit.'
exec bash --norc -i
