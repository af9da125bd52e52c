"""The road under any schedule of requests, purges and faults, against what a request may be answered with."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from sayonce.core.cache_control import DEFAULT, Policy
from sayonce.errors import EngineError, Failure, StoreError
from tests.helpers.road_schedules import FORMS, TAKES, World

POLICIES = (DEFAULT, DEFAULT, Policy(no_cache=True), Policy(no_store=True), Policy(only_if_cached=True))
FAULTS = (
    None,
    StoreError("gone", failure=Failure.LOST),
    StoreError("full", failure=Failure.FULL),
    "hang",
)
takes, forms = st.sampled_from(TAKES), st.sampled_from(list(FORMS))
numbers = st.integers(min_value=0, max_value=99)


class AnySchedule(RuleBasedStateMachine):
    world: World

    @initialize(instances=st.sampled_from((0, 1, 2, 2)))
    def begin(self, instances):
        self.world = World(instances=instances)

    @rule(at=numbers, take=takes, form=forms, policies=st.lists(st.sampled_from(POLICIES), min_size=1, max_size=3))
    def ask(self, at, take, form, policies):
        for policy in policies:
            self.world.ask(at % len(self.world.caches), take, form, policy)
            self.world.run(2)

    @rule(turns=st.integers(min_value=1, max_value=12))
    def let_run(self, turns):
        self.world.run(turns)

    @rule(seconds=st.sampled_from((0.01, 0.03, 0.3, 1.0)))
    def let_time_pass(self, seconds):
        self.world.clock.advance(seconds)
        self.world.run(2)

    @precondition(lambda self: self.world.under_way)
    @rule(which=numbers, fails=st.sampled_from((False, False, False, True)))
    def let_a_computation_go_on(self, which, fails):
        computation = self.world.under_way[which % len(self.world.under_way)]
        if fails:
            computation.failure = EngineError("out of memory")
        computation.steps.release()
        self.world.run(3)

    @precondition(lambda self: self.world.requests)
    @rule(which=numbers)
    def leave(self, which):
        self.world.requests[which % len(self.world.requests)].task.cancel()

    @rule(at=numbers, take=takes, by_tag=st.booleans())
    def purge(self, at, take, by_tag):
        self.world.purge(at % len(self.world.caches), take, by_tag=by_tag)

    @rule(at=numbers)
    def empty_a_memory(self, at):
        memory = self.world.caches[at % len(self.world.caches)].memory
        memory._entries.clear()

    @precondition(lambda self: self.world.store is not None)
    @rule(fault=st.sampled_from(FAULTS))
    def the_store_gets_into_trouble_or_out_of_it(self, fault):
        self.world.store.fault = fault
        self.world.troubled = True

    def teardown(self):
        if hasattr(self, "world"):
            try:
                self.world.settle()
            finally:
                self.world.close()


AnySchedule.TestCase.settings = settings(max_examples=120, stateful_step_count=40, derandomize=True)
TestAnySchedule = AnySchedule.TestCase
