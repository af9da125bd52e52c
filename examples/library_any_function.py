"""Remember any function: the second run of this program computes nothing.

python examples/library_any_function.py
"""

from __future__ import annotations

import time

import sayonce

with sayonce.open_sync("sqlite:///any_function.db") as cache:

    @cache.remember("collatz", revision="1")
    def longest_collatz_start(limit: int) -> dict[str, int]:
        best = {"start": 1, "steps": 0}
        for start in range(1, limit):
            number, steps = start, 0
            while number != 1:
                number, steps = (number // 2, steps + 1) if number % 2 == 0 else (3 * number + 1, steps + 1)
            if steps > best["steps"]:
                best = {"start": start, "steps": steps}
        return best

    for _ in range(2):
        began = time.perf_counter()
        answer = longest_collatz_start(50_000)
        print(f"{answer} in {(time.perf_counter() - began) * 1000:.1f} ms")
    print({name: round(count, 3) for name, count in cache.counters.items()})
