"""A Ray actor calls a remembered function; for CI alone, as Ray is large and slow to start: ``pip install ray``."""

import os

import pytest

import sayonce

ray = pytest.importorskip("ray", reason="pip install ray, to try remembered functions in its actors")


@pytest.fixture
def running(tmp_path):
    # pytest's warnings are errors, and Ray leaves files and sockets to the interpreter's end
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif("SAYONCE_RAY" not in os.environ, reason="set SAYONCE_RAY=1 to start Ray")
def test_a_ray_actor_calls_a_remembered_function(running, tmp_path):
    with sayonce.open_sync(f"sqlite:///{tmp_path}/cache.db") as cache:

        @cache.remember("pid", revision="1")
        def pid(x: int) -> int:
            return os.getpid()

        @ray.remote
        class Actor:
            def __init__(self, function):
                self.function = function

            def call(self, x):
                return self.function(x), os.getpid()

        value, process = ray.get(Actor.remote(pid).call.remote(1), timeout=120)
        assert value == process != os.getpid()
        assert pid(1) == value, "what the actor computed is shared through the store"
