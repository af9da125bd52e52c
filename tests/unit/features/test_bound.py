"""One name stands for one function: what a function is bound to is part of the key, or the name is refused."""

import functools
import operator
from dataclasses import dataclass

import numpy as np
import pytest

import sayonce


class Model:
    """An object without an exact identity, as networks are."""

    def __init__(self, factor):
        self.factor = factor

    def scale(self, x: float) -> float:
        return x * self.factor

    def __call__(self, x: float) -> float:
        return x * self.factor

    partly = functools.partialmethod(scale)


@dataclass(frozen=True)
class Settings:
    factor: int

    def scale(self, x: float) -> float:
        return x * self.factor


class Family:
    factor = 2

    @classmethod
    def scale(cls, x: float) -> float:
        return x * cls.factor

    @staticmethod
    def one(x: float) -> float:
        return x


class Child(Family):
    factor = 3


def closure(factor):
    def scale(x: float) -> float:
        return float(np.sum(x * np.asarray(getattr(factor, "factor", factor))))

    return scale


def wrapped(factor):
    inner = closure(factor)

    @functools.wraps(inner)
    def outer(*args, **kwargs):
        return inner(*args, **kwargs)

    return outer


def by_default(factor):
    def scale(x: float, by=factor) -> float:
        return x * by

    return scale


def nested_default(factor):
    def inner(x, by=factor):
        return x * by

    return lambda x: float(inner(x))


def defined(source):
    scope = {"__name__": "__main__"}
    exec(source, scope)
    return scope["f"]


PAIRS = {
    "bound methods": (Model(2).scale, Model(3).scale),
    "bound methods of records": (Settings(2).scale, Settings(3).scale),
    "callable objects": (Model(2), Model(3)),
    "partial methods": (Model(2).partly, Model(3).partly),
    "partials": (functools.partial(operator.mul, 2.0), functools.partial(operator.mul, 3.0)),
    "partials of keywords": (functools.partial(closure(1), x=1.0), functools.partial(closure(1), x=2.0)),
    "partials of partials": tuple(functools.partial(functools.partial(operator.mul, n)) for n in (2.0, 3.0)),
    "class methods": (Family.scale, Child.scale),
    "closures over numbers": (closure(2), closure(3)),
    "closures over equal numbers of other types": (closure(np.int64(2)), closure(np.float64(3))),
    "closures over arrays": (closure(np.arange(3.0)), closure(np.arange(4.0))),
    "closures over lists": (closure([2]), closure([3])),
    "closures over objects": (closure(Model(2)), closure(Model(3))),
    "closures over closures": (wrapped(2), wrapped(3)),
    "closures over functions with defaults": (nested_default(2), nested_default(3)),
    "defaults": (by_default(2), by_default(3)),
    "lambdas in one line": (lambda x: x + 1, lambda x: x + 2),
    "redefined": (defined("def f(x): return x"), defined("def f(x): return -x")),
    "of two classes": (Family.one, Child(). scale),
    "C functions": (operator.neg, operator.pos),
}  # fmt: skip


@pytest.mark.parametrize("kind", PAIRS)
def test_one_name_never_answers_for_functions_that_are_bound_to_different_things(kind):
    one, other = PAIRS[kind]
    x = () if kind == "partials of keywords" else (5.0,)
    with sayonce.open_sync("memory://") as cache:
        first = cache.remember("enc", revision="1", returns=float)(one)
        assert first(*x) == one(*x)
        try:
            second = cache.remember("enc", revision="1", returns=float)(other)
        except sayonce.Unkeyable as refused:
            message = refused.message
        else:
            assert second(*x) == other(*x) != one(*x)
            message = ""
        assert not message or "a name of its own or another revision, or pass what differs as an argument" in message
        assert first(*x) == one(*x)
        again = cache.remember("enc", revision="1", returns=float)(one)
        assert again.key(*x) == first.key(*x)


def test_a_variable_that_is_bound_anew_is_read_again_and_a_functions_own_count_is_not():
    with sayonce.open_sync("memory://") as cache:
        factor, runs, seen = 2, 0, []

        @cache.remember("f", revision="1")
        def scale(x: int) -> int:
            nonlocal runs
            runs += 1
            seen.append(x)
            return x * factor

        assert (scale(5), scale(5), runs) == (10, 10, 1)
        factor = 3
        assert (scale(5), runs) == (15, 2)


def test_the_same_closure_made_again_finds_what_the_first_one_stored():
    with sayonce.open_sync("memory://") as cache:
        model = Model(2)
        for make in (
            lambda: closure(2),
            lambda: closure(model),
            lambda: wrapped(2),
            lambda: functools.partial(closure(4)),
        ):
            one, other = (cache.remember(repr(make), revision="1")(make()) for _ in range(2))
            assert one.key(1.0) == other.key(1.0)


def test_a_plain_functions_key_says_nothing_of_what_it_is_bound_to():
    with sayonce.open_sync("memory://") as cache:
        remembered = cache.remember("f", revision="1")(nested_default)
        assert remembered.key(1) == cache.key(["remember", "f", "1", {"factor": 1}])


def test_a_callable_without_a_signature_is_refused_with_what_to_do():
    with sayonce.open_sync("memory://") as cache, pytest.raises(sayonce.Unkeyable, match="remember a plain function"):
        cache.remember("f", revision="1")(classmethod(closure(1)))
