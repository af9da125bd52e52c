"""What is derived from several values: spoken once each, and gone, or expired, with the first of them."""

import asyncio
from datetime import timedelta

import pytest

from sayonce.cache import Cache, Keep, Lookup, Made, Scope
from sayonce.core.cache_control import DEFAULT, Policy
from sayonce.core.outcome import Outcome
from sayonce.errors import NotCached
from sayonce.stores.sqlite.store import SQLiteStore

WORDS = ("Good", "morning", "Anna")


class Speaker:
    """Speaks words, and joins them; counts what it does."""

    def __init__(self, cache):
        self.cache = cache
        self.spoken = []

    def word(self, text, policy=DEFAULT, ttl=None):
        async def speak(_):
            self.spoken.append(text)
            await asyncio.sleep(0)
            return Made(body=text.encode())

        return Lookup(self.cache.key(text), speak, policy, ttl, (f"word={text}",))

    def sentence(self, policy=DEFAULT, words=WORDS, scope=Scope.SHARED):
        async def join(_, *parts):
            self.spoken.append("joined")
            return Made(body=b" ".join([(await part.result()).body for part in parts]))

        parents = tuple(self.word(word, policy) for word in words)
        return Lookup(self.cache.key(" ".join(words)), join, policy, scope=scope, parents=parents)

    async def say(self, lookup):
        answer = await self.cache.answer(lookup)
        body = (await answer.result()).body
        answer.close()
        await self.cache.settle()
        return answer.outcome, body


@pytest.fixture
async def speaker(tmp_path, sealer, clock):
    async with Cache(SQLiteStore(tmp_path / "cache.db", sealer=sealer, clock=clock), clock=clock) as cache:
        yield Speaker(cache)


async def test_a_joined_value_is_computed_from_parents_that_are_computed_once(speaker):
    await speaker.say(speaker.word("morning"))
    assert await speaker.say(speaker.sentence()) == (Outcome.LED, b"Good morning Anna")
    assert sorted(speaker.spoken) == ["Anna", "Good", "joined", "morning"]
    assert await speaker.say(speaker.sentence()) == (Outcome.HIT, b"Good morning Anna")
    assert len(speaker.spoken) == 4


async def test_a_value_whose_parents_are_all_stored_counts_as_reused(speaker):
    for word in WORDS:
        await speaker.say(speaker.word(word))
    assert await speaker.say(speaker.sentence()) == (Outcome.HIT, b"Good morning Anna")


async def test_a_purge_of_any_parent_outdates_what_was_derived_from_it(speaker):
    for number, word in enumerate(WORDS, 1):
        await speaker.say(speaker.sentence())
        await speaker.cache.purge(f"word={word}")
        assert (await speaker.say(speaker.sentence()))[0] is Outcome.LED
        assert speaker.spoken.count(word) == 2, number
    assert speaker.spoken.count("joined") == 4


async def test_the_removal_of_any_parent_outdates_what_was_derived_from_it(speaker):
    for word in WORDS:
        await speaker.say(speaker.sentence())
        await speaker.cache.remove(speaker.cache.key(word))
        assert await speaker.cache.find(speaker.cache.key(" ".join(WORDS))) is None


async def test_what_is_derived_expires_with_the_first_of_its_parents(speaker, clock):
    await speaker.say(speaker.word("Good", ttl=timedelta(minutes=1)))
    await speaker.say(speaker.sentence())
    clock.advance(61)
    assert await speaker.cache.find(speaker.cache.key(" ".join(WORDS))) is None
    assert (await speaker.say(speaker.sentence()))[0] is Outcome.LED
    assert speaker.spoken.count("Good") == 2
    assert speaker.spoken.count("Anna") == 1


async def test_only_if_cached_derives_what_all_parents_are_stored_for_and_computes_no_parent(speaker):
    stored_only = Policy(only_if_cached=True)
    for word in WORDS:
        with pytest.raises(NotCached):
            await speaker.say(speaker.sentence(stored_only))
        await speaker.say(speaker.word(word))
    assert "joined" not in speaker.spoken
    assert await speaker.say(speaker.sentence(stored_only)) == (Outcome.HIT, b"Good morning Anna")
    assert sorted(speaker.spoken) == ["Anna", "Good", "joined", "morning"]


async def test_a_parent_that_fails_fails_what_is_derived_and_leaves_the_others_stored(speaker):
    async def fails(_):
        raise ValueError("no voice")

    broken = Lookup(speaker.cache.key("broken"), fails)
    sentence = speaker.sentence()
    parents = (sentence.parents[0], broken, sentence.parents[2])
    with pytest.raises(ValueError, match="no voice"):
        await speaker.say(Lookup(speaker.cache.key("x"), sentence.compute, parents=parents))
    await speaker.cache.settle()
    assert await speaker.cache.find(speaker.cache.key("x")) is None
    assert (await speaker.say(speaker.word("Good")))[0] is Outcome.HIT


async def test_what_is_local_is_kept_in_memory_alone_and_its_parents_are_stored(speaker):
    local = speaker.sentence(scope=Scope.LOCAL)
    assert (await speaker.say(local))[0] is Outcome.LED
    assert await speaker.cache.store.get(local.key) is None
    assert (await speaker.say(local))[0] is Outcome.HIT
    assert all([await speaker.cache.store.get(each.key) is not None for each in local.parents])


async def test_what_is_computed_for_one_request_alone_has_parents_of_its_own(speaker):
    alone = Policy(no_store=True)
    assert await speaker.say(speaker.sentence(alone)) == (Outcome.BYPASS, b"Good morning Anna")
    assert await speaker.say(speaker.sentence(alone)) == (Outcome.BYPASS, b"Good morning Anna")
    assert speaker.spoken.count("Good") == 2
    assert await speaker.cache.find(speaker.cache.key("Good")) is None


async def test_a_value_that_is_to_be_kept_nowhere_is_computed_again_from_what_is_stored(speaker):
    sentence = speaker.sentence()

    async def join(flight, *parts):
        made = await sentence.compute(flight, *parts)
        return Made(body=made.body, keep=Keep.NOWHERE)

    lookup = Lookup(sentence.key, join, parents=sentence.parents)
    for _ in range(2):
        assert (await speaker.say(lookup))[1] == b"Good morning Anna"
    assert speaker.spoken.count("joined") == 2
    assert speaker.spoken.count("Good") == 1
