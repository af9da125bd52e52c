"""Lua scripts, which run as a whole at the server that has their keys."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any, Generic, TypeVar

import msgspec
from redis.exceptions import NoScriptError

T = TypeVar("T")


class Script(Generic[T]):
    """A script of ``lua/``, sent once to a server and then named by its digest; its answer is of the given kind."""

    def __init__(self, name: str, kind: type[T]) -> None:
        self._kind = kind
        self._text = files(__package__).joinpath("lua", f"{name}.lua").read_text()
        self.digest = sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, redis: Any, keys: Sequence[str | bytes], *arguments: str | bytes | int) -> T:
        """Run it.

        Raises:
            ValueError: the answer is of another kind (``msgspec.ValidationError``).

        """
        try:
            answer = await redis.evalsha(self.digest, len(keys), *keys, *arguments)
        except NoScriptError:
            answer = await redis.eval(self._text, len(keys), *keys, *arguments)
        return msgspec.convert(answer, self._kind, builtin_types=(bytes,))
