"""Lua scripts, which run as a whole at the server that has their keys."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError


class Script:
    """A script of ``lua/``, sent once to a server and then named by its digest."""

    def __init__(self, name: str) -> None:
        self._text = files(__package__).joinpath("lua", f"{name}.lua").read_text()
        self._digest = sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, redis: Any, keys: Sequence[str | bytes], *arguments: str | bytes | int) -> Any:
        try:
            return await redis.evalsha(self._digest, len(keys), *keys, *arguments)
        except NoScriptError:
            return await redis.eval(self._text, len(keys), *keys, *arguments)
