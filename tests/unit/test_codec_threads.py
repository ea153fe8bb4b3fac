# SPDX-License-Identifier: Apache-2.0
"""The first records of a process may be read by many threads at once."""

import subprocess
import sys

PROGRAM = """
import sys, threading
from kuryr_sriov import codec, model
sys.setswitchinterval(1e-6)
pod = model.Pod('a', 'b', 'c')
record = model.Attachment(
    model.Sandbox('c', '/n', pod),
    model.Vif('p', 'n', 'd', 'r', 'p', 'm'), 'x', 'd')
text = codec.to_json(record)
barrier, right = threading.Barrier(16), []
def read():
    barrier.wait()
    right.append(codec.from_json(model.Attachment, text) == record)
threads = [threading.Thread(target=read) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert right == [True] * 16
"""


def test_none_of_them_crashes():
    for _ in range(5):
        subprocess.run([sys.executable, '-c', PROGRAM], check=True)
