"""Epochs of purges: what they outdate, the next of them, and which may be forgotten."""

from __future__ import annotations

import pytest

from sayonce.core.epochs import ALL, Epochs, derived, key_in, key_tag

KEY, OTHER, THIRD = (bytes([number]) * 32 for number in (1, 2, 3))


def test_the_next_epoch_is_the_time_in_milliseconds_and_above_all_that_are_known() -> None:
    epochs = Epochs()
    assert epochs.next(1_700_000_000.25) == 1_700_000_000_250
    epochs.learn({"voice=anna": 1_700_000_000_300, "voice=bela": 5})
    assert epochs.next(1_700_000_000.25) == 1_700_000_000_301
    assert epochs.next(1_700_000_001.0) == 1_700_000_001_000
    assert Epochs().next(0.0) == 1


def test_a_purge_of_everything_outdates_what_does_not_carry_it() -> None:
    epochs = Epochs()
    before = epochs.stamp(["voice=anna"])
    assert epochs.learn({ALL: 7}) == [ALL]
    assert not epochs.current(before)
    assert not epochs.current(((ALL, 6),))
    after = epochs.stamp(["voice=anna"])
    assert after == ((ALL, 7), ("voice=anna", 0))
    assert epochs.current(after)
    assert epochs.learn({ALL: 7}) == []


def test_the_tags_of_all_and_of_a_key_are_the_words_that_stores_hold() -> None:
    """With other words the purges and removals that a store remembers would outdate nothing."""
    assert ALL == "all"
    assert key_tag(KEY) == "key=" + "01" * 32


def test_while_no_purge_is_known_everything_is_current() -> None:
    assert Epochs().current(())
    assert Epochs().current((("voice=anna", 0),), KEY)


def test_a_removed_key_outdates_what_lies_under_it_and_nothing_else() -> None:
    epochs = Epochs()
    before = epochs.stamp(["voice=anna"], KEY)
    epochs.learn({key_tag(KEY): 9})
    assert not epochs.current(before, KEY)
    assert not epochs.current(((key_tag(KEY), 8),), KEY)
    assert epochs.current(before, OTHER)
    assert epochs.stamp(["voice=anna"], KEY) == ((key_tag(KEY), 9), ("voice=anna", 0))
    assert epochs.current(epochs.stamp(["voice=anna"], KEY), KEY)
    assert epochs.removed_keys == 1


def test_a_derived_value_goes_with_the_keys_and_the_earliest_tags_of_what_it_is_derived_from() -> None:
    epochs = Epochs()
    one, other = ((("voice=anna", 5), ("take", 1)), KEY), ((("voice=anna", 3),), OTHER)
    stamp = derived([one, other])
    assert dict(stamp) == {"voice=anna": 3, "take": 1, key_tag(KEY): 0, key_tag(OTHER): 0}
    assert dict(derived([other, one])) == dict(stamp)
    assert dict(derived([(((key_tag(KEY), 7),), KEY)])) == {key_tag(KEY): 7}
    epochs.learn({key_tag(OTHER): 4})
    assert not epochs.current(stamp, THIRD)


@pytest.mark.parametrize(
    "tag", ["voice=anna", "key=", "key=" + "0" * 63, "key=" + "0" * 65, "key=" + "x" * 64, "KEY=" + "0" * 64]
)
def test_a_tag_of_another_kind_is_made_of_no_key(tag: str) -> None:
    assert key_in(tag) is None
    assert key_in(key_tag(KEY)) == KEY


def test_of_too_many_removed_keys_the_oldest_are_forgotten_once_no_write_can_be_late() -> None:
    epochs = Epochs()
    tags = [key_tag(key) for key in (KEY, OTHER, THIRD)]
    epochs.learn(dict(zip(tags, (3_000, 1_000, 2_000), strict=True)) | {"voice=anna": 1})
    assert epochs.surplus(3, before=10.0) == set()
    assert epochs.surplus(2, before=10.0) == {tags[1]}
    assert epochs.surplus(1, before=10.0) == {tags[1], tags[2]}
    assert epochs.surplus(1, before=2.0) == {tags[1]}
    assert epochs.surplus(0, before=1.0) == set()
    epochs.forget([tags[1], "voice=anna", "voice=nobody"])
    assert epochs.removed_keys == 2
    assert dict(epochs.known) == {tags[0]: 3_000, tags[2]: 2_000}
    assert epochs.stamp(["voice=anna"], OTHER) == (("voice=anna", 0),)
