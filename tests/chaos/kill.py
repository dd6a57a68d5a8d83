"""Kill a job with SIGKILL at random moments until it is done, and compare every byte with an undisturbed run.

    python tests/chaos/kill.py --kills 10 -- addressvlm city build mini:5 --locations 40

`--out` is added by this script. Files that hold times, and locks, are not compared.
The test suite does the same on smaller jobs with two or three kills; this is for many kills on real ones.
"""

import argparse
import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NOT_COMPARED = {"log.jsonl", ".lock", "seconds.json"}


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in NOT_COMPARED
    }


def run(command: list[str], out: Path) -> float:
    begun = time.monotonic()
    subprocess.run(
        [*command, "--out", str(out)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return time.monotonic() - begun


def killed_run(command: list[str], out: Path, dice: random.Random, longest_s: float) -> list[float]:
    """Start the job again and again, killing it after random times, until it ends; the times of the kills."""
    kills = []
    while True:
        job = subprocess.Popen(
            [*command, "--out", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        life_s = dice.uniform(0.5, longest_s)
        try:
            _, errors = job.communicate(timeout=life_s)
        except subprocess.TimeoutExpired:
            job.send_signal(signal.SIGKILL)
            job.communicate()
            kills.append(life_s)
            time.sleep(0.5)  # its workers notice
            continue
        if job.returncode:
            raise SystemExit(f"the job failed after {len(kills)} kills: {errors.decode()[-2000:]}")
        return kills


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    dice, kills, rounds = random.Random(arguments.seed), [], 0
    with tempfile.TemporaryDirectory() as scratch:
        undisturbed = Path(scratch) / "undisturbed"
        seconds = run(arguments.command, undisturbed)
        wanted = digests(undisturbed)
        while len(kills) < arguments.kills:
            disturbed = Path(scratch) / "disturbed"
            shutil.rmtree(disturbed, ignore_errors=True)
            kills += killed_run(arguments.command, disturbed, dice, longest_s=max(6.0, seconds / 2))
            rounds += 1
            found = digests(disturbed)
            different = sorted(
                name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)
            )
            if different:
                sys.exit(f"after {len(kills)} kills these differ: {different[:10]}")
    result = {
        "kills": len(kills),
        "rounds": rounds,
        "files": len(wanted),
        "seconds_undisturbed": round(seconds, 1),
    }
    print(json.dumps({**result, "identical": True}))


if __name__ == "__main__":
    main()
