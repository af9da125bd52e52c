"""A server gives back the memory that clips took."""

import ctypes
import os
import subprocess
import sys

import pytest

BODIES, KEPT = 400, 10
WAV_BYTES, MP3_BYTES = 200_000, 60_000
TAKEN = f"""
import os, threading, time
from pathlib import Path
from sayonce.cli import allocator, serve
from sayonce.errors import SayonceError

def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def speak():
    bodies.extend(bytes([1]) * {{size}} for _ in range({BODIES} // 4))

{{begun}}
bodies = []
bytes([1]) * 20_000_000  # from now on glibc takes whatever is smaller from a heap
before = resident_bytes()
for each in [threading.Thread(target=speak) for _ in range(4)]:
    each.start()
    each.join()
kept, bodies = bodies[::{KEPT}], []
while resident_bytes() - before > {{awaited}}:
    time.sleep(0.01)
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
    assert taken_bytes(begun, tmp_path, WAV_BYTES) < 2 * used_bytes(WAV_BYTES)


def test_the_pages_of_small_clips_go_back_after_a_while(tmp_path):
    soon = "allocator._EVERY_SECONDS = 0.01" + "\n" + WORKER
    assert taken_bytes(soon, tmp_path, MP3_BYTES, awaited=2 * used_bytes(MP3_BYTES))


@pytest.mark.parametrize("size", [WAV_BYTES, MP3_BYTES])
def test_by_itself_the_library_keeps_it(tmp_path, size):
    assert taken_bytes("", tmp_path, size) > 5 * used_bytes(size)


def used_bytes(size):
    return size * BODIES // KEPT


def taken_bytes(begun, directory, size, awaited=float("inf")):
    """Return what a process takes for clips of which it keeps a few, once it takes no more than is awaited."""
    script = TAKEN.format(begun=begun, size=size, awaited=f'float("{awaited}")')
    return printed(script, directory, "espeak")


def printed(script, directory, engine):
    environment = os.environ | {"SAYONCE_STORE__URL": "memory://", "SAYONCE_SERVER__ENGINE": engine}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=directory, env=environment, timeout=60)
    return int(done.stdout)


COMPUTED = """
import resource
from sayonce.cli import serve

serve.worker()
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    bytes([1]) * 1_000_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults)
"""


def test_the_blocks_in_which_a_model_computes_are_not_made_of_new_pages_for_each_text(tmp_path):
    assert printed(COMPUTED, tmp_path, "hibari") < 1000
    assert printed(COMPUTED, tmp_path, "espeak") > 10_000
