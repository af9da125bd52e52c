"""What metrics, counters, ledger and logs at level info cost a hit in memory: the gateway with them and without.

``python -m bench.observe [--rounds 40] [--seconds 1]``

One server is watched and not watched in turn, as two processes differ by more than watching costs. Each round has its
own ratio, and its sides another order, so that what else the machine does falls on all of them. Not watching comes
twice: how far the second is from the first tells how far to trust the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
from collections import defaultdict
from pathlib import Path

from bench.common import LOAD_CORE, SERVER_CORE, ask, bench_server, finish, median, stay_on, table, verdict
from bench.hits_http import FIELDS, Figures, load

CONNECTIONS = 16
TARGET_PERCENT = 5
STORE = {"SAYONCE_STORE__URL": "sqlite:///clips.db", "SAYONCE_SERVER__ENGINE": "hibari"}
FIGURES = ("per_second", "p50_ms", "cpu_us")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=int, default=1)
    options = parser.parse_args()
    stay_on(LOAD_CORE)
    measured = defaultdict(list)
    with (
        tempfile.NamedTemporaryFile(suffix=".json") as body,
        bench_server("observe_server.py", core=SERVER_CORE, env=STORE) as server,
    ):
        Path(body.name).write_text(json.dumps(FIELDS))
        ask(server.port, FIELDS)
        if "detail=memory" not in ask(server.port, FIELDS)[1]["cache-status"]:
            raise SystemExit("this should have been a hit in memory")
        sides = [("observed", signal.SIGUSR1), ("unobserved", signal.SIGUSR2), ("control", signal.SIGUSR2)]
        for number in range(options.rounds + 1):
            for name, watching in sides:
                os.kill(server.process_id, watching)
                figures = load(server, CONNECTIONS, options.seconds, Path(body.name))
                if number:  # the first round warms up
                    measured[name].append(figures)
            sides = sides[1:] + sides[:1]
    _report(measured)


def _report(measured: dict[str, list[Figures]]) -> None:
    middle = {name: {each: median([f[each] for f in found]) for each in FIGURES} for name, found in measured.items()}
    rows = [(name, round(f["per_second"]), f"{f['p50_ms']:.3f}", f"{f['cpu_us']:.1f}") for name, f in middle.items()]
    table("hits in memory, 16 connections", ("", "requests/s", "p50 ms", "server's CPU µs a request"), rows)
    costs = {side: _cost(measured[side], measured["unobserved"]) for side in ("observed", "control")}
    print()
    observed, control = costs["observed"], costs["control"]
    verdict("of the throughput that watching costs, %", observed["throughput"], target=TARGET_PERCENT, at_most=True)
    verdict("of processor time a request that watching adds, %", observed["cpu"], target=TARGET_PERCENT, at_most=True)
    print(f"the same of the control, which watches nothing: {control['throughput']:.2f} %, {control['cpu']:.2f} %")
    finish("observe", {"percent": costs, "rounds": len(measured["observed"]), "sides": middle})


def _cost(side: list[Figures], baseline: list[Figures]) -> dict[str, float]:
    """Return in percent how much less a side does in a second, and how much longer its processor takes a request."""
    pairs = list(zip(side, baseline, strict=True))
    return {
        "throughput": 100 * (1 - median([one["per_second"] / other["per_second"] for one, other in pairs])),
        "cpu": 100 * (median([one["cpu_us"] / other["cpu_us"] for one, other in pairs]) - 1),
    }


if __name__ == "__main__":
    main()
