"""Kill real servers and look for every record: `python tools/oracle.py [--records N] [--kills N] [RIG...]`.

Prints a table; exit code 1 where a record is lost, doubled or changed, and then the folder is kept. `--slow MINUTES`
feeds a server at full speed whose only sink hardly moves, and watches its memory.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "pipeline")]

from tests.delivery.faults import compiled  # noqa: E402 - the path comes first
from tests.delivery.oracle import run, table, told  # noqa: E402
from tests.delivery.rigs import RIGS  # noqa: E402
from tests.delivery.slow import flood  # noqa: E402


def main(arguments: list[str]) -> int:
    """The number of rigs that failed."""
    parser = argparse.ArgumentParser(prog="oracle", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("rigs", nargs="*", metavar="RIG", help=f"of {', '.join(RIGS)}; all of them where none is named")
    parser.add_argument("--records", type=int, default=100_000, help="for each rig; 100000")
    parser.add_argument("--kills", type=int, default=25, help="of each of its servers; 25")
    parser.add_argument("--seed", type=int, default=None, help="of what is sent and when servers are killed")
    parser.add_argument("--slow", type=float, default=0.0, metavar="MINUTES", help="the slow sink, and nothing else")
    given = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="oracle-"))
    if given.slow:
        print(flood(folder, given.slow * 60.0).told())
        shutil.rmtree(folder)
        return 0
    if unknown := set(given.rigs) - set(RIGS):
        parser.error(f"no rig {', '.join(sorted(unknown))}")
    seed = secrets.randbelow(10**6) if given.seed is None else given.seed
    library = compiled(folder)
    outcomes = []
    for name in given.rigs or RIGS:
        place = folder / name
        place.mkdir()
        outcome = run(name, place, library, records=given.records, kills=given.kills, seed=seed)
        outcomes.append(outcome)
        print(told(outcome) if outcome.violations else f"{name}: as it should be", flush=True)
        if not outcome.violations:
            shutil.rmtree(place)
    print(table(outcomes))
    failed = sum(bool(outcome.violations) for outcome in outcomes)
    if failed:
        print(f"seed {seed}; the files are in {folder}")
    else:
        shutil.rmtree(folder)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
