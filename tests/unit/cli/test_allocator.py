"""A server gives back the memory that clips took."""

import ctypes
import os
import subprocess
import sys

import pytest

BODY_BYTES, BODIES, KEPT = 200_000, 400, 10
USED_BYTES = BODY_BYTES * BODIES // KEPT
TAKEN = f"""
import os, threading
from pathlib import Path
from sayonce.cli import serve
from sayonce.errors import SayonceError

def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def speak():
    bodies.extend(bytes([1]) * {BODY_BYTES} for _ in range({BODIES} // 4))

{{begun}}
bodies = []
bytes([1]) * 20_000_000  # from now on glibc takes whatever is smaller from a heap
before = resident_bytes()
for each in [threading.Thread(target=speak) for _ in range(4)]:
    each.start()
    each.join()
kept, bodies = bodies[::{KEPT}], []
print(resident_bytes() - before)
"""
SERVER = """
try:
    serve.run(None, {"host": "192.0.2.1"})  # an address of no machine: it ends where it would listen
except SayonceError:
    pass
"""
WORKER = "serve.worker()"

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library than glibc")


@pytest.mark.parametrize("begun", [SERVER, WORKER], ids=["server", "worker"])
def test_what_is_free_between_clips_that_are_kept_goes_back_to_the_system(begun, tmp_path):
    assert taken_bytes(begun, tmp_path) < 2 * USED_BYTES


def test_by_itself_the_library_keeps_it(tmp_path):
    assert taken_bytes("", tmp_path) > 5 * USED_BYTES


def taken_bytes(begun, directory):
    """Return what a process takes for clips of which it keeps a few."""
    script, environment = TAKEN.format(begun=begun), os.environ | {"SAYONCE_STORE__URL": "memory://"}
    command = [sys.executable, "-c", script]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=directory, env=environment).stdout)
