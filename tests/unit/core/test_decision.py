"""The table of the road: what happens next, for everything that can be found, be allowed and be under way."""

from itertools import product
from pathlib import Path

from sayonce.core.cache_control import DEFAULT, parse_cache_control
from sayonce.core.decision import RULES, Computing, Found, Mode, Step, decide

SNAPSHOT = Path(__file__).parents[2] / "golden" / "decisions.txt"
REQUEST = (Computing.NOBODY, Computing.HERE, Computing.RENEWING)
FLIGHT = tuple(each for each in Computing if each not in REQUEST)
ROWS = tuple(product(Found, Mode, Computing))


def drawn():
    """Return the whole table as text: a block for each mode, with a line for each thing found."""
    lines = []
    for mode in Mode:
        lines.append(f"{mode.name:<12}" + "".join(f"{who.name:<14}" for who in Computing).rstrip())
        for found in Found:
            steps = (f"{decide(found, mode, who).name:<14}" for who in Computing)
            lines.append(f"  {found.name:<10}" + "".join(steps).rstrip())
        lines.append("")
    return "\n".join(lines)


def test_the_whole_table_is_as_it_was_agreed():
    """Where a change is meant: write ``drawn()`` into the snapshot, and read the difference row by row."""
    assert drawn() == SNAPSHOT.read_text()


def test_every_rule_decides_at_least_one_row():
    deciding = {
        next(number for number, (*allowed, _) in enumerate(RULES) if all(map(tuple.__contains__, allowed, row)))
        for row in ROWS
    }
    assert deciding == set(range(len(RULES)))


def test_nothing_is_computed_for_a_request_that_takes_only_what_is_stored_but_from_its_stored_parents():
    for found, mode, who in product(Found, (Mode.ONLY_STORED, Mode.NEVER), Computing):
        step = decide(found, mode, who)
        if mode is Mode.ONLY_STORED and found is Found.PARENTS and who in REQUEST:
            assert step in (Step.LAUNCH, Step.JOIN)
        else:
            assert step in (Step.RETURN, Step.ASK_STORE, Step.FIND_PARENTS, Step.RAISE)


def test_nothing_that_is_stored_answers_a_request_that_asks_for_a_new_value():
    for found, mode, who in product(Found, (Mode.NO_CACHE, Mode.NO_STORE, Mode.NEVER), Computing):
        assert decide(found, mode, who) not in (Step.RETURN, Step.RENEW, Step.ASK_STORE)


def test_what_is_computed_for_one_request_alone_is_neither_joined_nor_shared():
    steps = {decide(found, Mode.NO_STORE, who) for found, who in product(Found, Computing)}
    assert steps == {Step.LAUNCH, Step.COMPUTE}


def test_only_what_was_found_is_returned_and_only_what_is_under_way_is_joined():
    for found, mode, who in ROWS:
        step = decide(found, mode, who)
        assert step not in (Step.RETURN, Step.RENEW) or found in (Found.VALUE, Found.STALE)
        assert step is not Step.JOIN or who in (Computing.HERE, Computing.RENEWING)


def test_nobody_waits_for_what_is_made_anew_while_something_stale_is_there():
    for who in REQUEST:
        assert decide(Found.STALE, Mode.USUAL, who) in (Step.RETURN, Step.RENEW)
    for unasked in (Found.UNKNOWN, Found.UNLIKELY):
        assert decide(unasked, Mode.USUAL, Computing.RENEWING) is Step.ASK_STORE
    for who in FLIGHT:
        assert decide(Found.STALE, Mode.USUAL, who) is Step.RENEW
    assert decide(Found.STALE, Mode.RENEWAL, Computing.LEASED) is Step.COMPUTE


def test_every_lookup_comes_to_an_end():
    """No answer of a store, of another process or of the look for parents leads back to the same question."""
    for mode, who in product(Mode, REQUEST):
        for after in set(Found) - {Found.UNKNOWN, Found.UNLIKELY}:
            assert decide(after, mode, who) is not Step.ASK_STORE
        for after in (Found.PARENTS, Found.NOTHING):
            assert decide(after, mode, who) is not Step.FIND_PARENTS
    for mode, who in product(Mode, (Computing.LEASED, Computing.ALONE)):
        for after in set(Found) - {Found.UNKNOWN, Found.UNLIKELY}:
            assert decide(after, mode, who) in (Step.RETURN, Step.RENEW, Step.COMPUTE, Step.RAISE)


def test_the_mode_of_a_request_is_that_of_its_cache_control():
    modes = {
        "": Mode.USUAL,
        "max-age=5": Mode.USUAL,
        "only-if-cached": Mode.ONLY_STORED,
        "no-cache": Mode.NO_CACHE,
        "no-store": Mode.NO_STORE,
        "no-store, no-cache": Mode.NO_STORE,
        "no-cache, only-if-cached": Mode.NEVER,
        "no-store, only-if-cached": Mode.NEVER,
    }
    assert {control: Mode.of(parse_cache_control(control)) for control in modes} == modes
    assert Mode.of(DEFAULT) is Mode.USUAL
    assert [mode for mode in Mode if mode.reads] == [Mode.USUAL, Mode.ONLY_STORED, Mode.RENEWAL]
