"""Mutation testing, by ``python -m tests.mutation [AREA ...]``; ``areas.toml`` says of what, ``survivors.toml`` explains.

Ends with 1 where a mutant survives that is not explained, where an explained one does not exist, or where the score of an
area is below its floor. Explained survivors count as survivors in the score.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.paths import ROOT
from tests.mutation.mutants import Candidate, Mutant, candidates
from tests.mutation.workshop import SOURCES, Baseline, Workshop

HERE = Path(__file__).parent
BUILD = ROOT / "build/mutation"


@dataclass(frozen=True)
class Area:
    """Modules, the tests that must notice each change of them, and the least share of changes noticed, in percent."""

    name: str
    floor: int
    paths: Sequence[str]
    tests: Sequence[str]
    sample: int | None = None
    select: str = "not valkey and not redis and not cluster"

    def candidates(self) -> list[Candidate]:
        return [each for path in self.paths for each in candidates(path, (SOURCES / path).read_text())]


def areas() -> Iterator[Area]:
    """Yield the areas; a module belongs to the first that names it."""
    taken: set[str] = set()
    for name, fields in tomllib.loads((HERE / "areas.toml").read_text()).items():
        found = {path.relative_to(SOURCES).as_posix() for glob in fields.pop("modules") for path in SOURCES.glob(glob)}
        yield Area(name, paths=sorted(found - taken), **fields)
        taken |= found


def explanations() -> dict[str, str]:
    """Return the names of explained mutants, each with its reason."""
    kinds = tomllib.loads((HERE / "survivors.toml").read_text())
    return {name: kind["why"] for kind in kinds.values() for name in kind["mutants"]}


def verdicts(area: Area, chosen: Sequence[Candidate], workers: int) -> Iterator[tuple[Mutant, bool]]:
    """Yield each mutant, and whether it survived."""
    with multiprocessing.Pool(1) as pool:  # a process that has imported nothing of ours
        baseline = pool.apply(measured, (area,))
    with multiprocessing.Pool(workers, enter, (baseline,)) as pool:
        yield from pool.imap(tried, (each.mutant() for each in chosen))


def measured(area: Area) -> Baseline:
    return Workshop(BUILD / "baseline" / area.name).baseline(area.tests, area.select)


def enter(baseline: Baseline) -> None:
    global workshop  # noqa: PLW0603 (one for each process of the pool)
    place = Workshop(BUILD / str(os.getpid()))
    place.prepare(baseline)
    workshop = place, baseline


def tried(mutant: Mutant) -> tuple[Mutant, bool]:
    place, baseline = workshop
    return mutant, place.survives(mutant, baseline)


def run(area: Area, options: argparse.Namespace, explained: Mapping[str, str]) -> bool:
    """Test the mutants of an area, tell of survivors, and return whether all is well."""
    found = area.candidates()
    chosen = [each for each in found if options.match in f"{each.path}: {each.scope}"]
    if area.sample is not None and not options.all:
        chosen = random.Random(options.seed).sample(chosen, min(area.sample, len(chosen)))
    tested, left = Counter[str](), Counter[str]()
    for mutant, survived in verdicts(area, chosen, options.workers):
        tested[mutant.name] += 1
        left[mutant.name] += survived
        if survived:
            print(f"  {'explained' if mutant.name in explained else 'SURVIVED'}: {mutant.name}", flush=True)
        if not tested.total() % 50:
            print(f"  {area.name}: {tested.total()} of {len(chosen)}", flush=True)
    left = +left
    mine = {name for name in explained if name.split(": ")[0] in area.paths}
    scopes = {tuple(name.split(": ", 2)[:2]) for name in mine}
    gone = mine - {each.mutant().name for each in found if (each.path, each.scope) in scopes}
    for name in sorted(gone):
        print(f"  EXPLAINED, and there is no such mutant: {name}")
    for name in sorted((mine & tested.keys()) - left.keys()):
        print(f"  explained, and a test notices it: {name}")
    score = 100 * (1 - left.total() / max(1, len(chosen)))
    new = left.total() - sum(left[name] for name in explained)
    print(
        f"{area.name}: score {score:.1f} %, at least {area.floor} % is needed; {left.total()} of {len(chosen)} mutants "
        f"survived, {new} of them without an explanation; the modules have {len(found)} mutants",
        flush=True,
    )
    return not new and not gone and score >= area.floor


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    known = list(areas())
    parser.add_argument("areas", nargs="*", metavar="AREA", help=", ".join(area.name for area in known))
    parser.add_argument("--all", action="store_true", help="every mutant, and no sample")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: 0)")
    parser.add_argument("--workers", type=int, default=1, help="processes that test mutants (default: 1)")
    parser.add_argument("--match", default="", help="only what has this in 'module: class or function'")
    options = parser.parse_args()
    explained = explanations()
    chosen = [area for area in known if area.name in (options.areas or [area.name])]
    passed = [run(area, options, explained) for area in chosen]  # all of them, also after one that fails
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
