"""Time, processor time and memory of the demo, from set-up environment and no results to the report.

python benchmarks/demo.py --out docs/measurements/demo.md
"""

import resource
import subprocess
import sys
import time
from pathlib import Path

import psutil
from measurement import output_argument, report

EVERY_S = 2.0


def memory_gib(process: psutil.Process) -> float:
    """Return the memory of a process and all below it, what they share counted once."""
    total = 0
    for member in [process, *process.children(recursive=True)]:
        try:
            total += member.memory_full_info().pss
        except psutil.Error:  # it has ended meanwhile
            continue
    return total / 2**30


def main() -> int:
    out = output_argument(__doc__.splitlines()[0])
    if any(path.name != "README.md" for path in Path("results").iterdir()):
        sys.exit("results/ is not empty: the demo would have less to do (make clean)")
    subprocess.run(["make", "env"], check=True)
    start, most = time.perf_counter(), 0.0
    running = psutil.Popen(["make", "demo"])
    while running.poll() is None:
        most = max(most, memory_gib(running))
        time.sleep(EVERY_S)
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    rows = [
        {"what": "wall time", "measured": f"{seconds / 60:.1f} min"},
        {"what": "processor time", "measured": f"{(used.ru_utime + used.ru_stime) / 60:.1f} min"},
        {"what": "memory, most at any time", "measured": f"{most:.2f} GiB"},
    ]
    about = (
        "`make demo` with its environment set up and no results, to the report. The wall time holds "
        "what other programs took of the machine meanwhile; the processor time does not: divided by "
        "the number of cores it is what an idle machine needs at least. Memory: all processes "
        f"together every {EVERY_S:g} s, shared pages counted once."
    )
    report("The demo", about, rows, ["snakemake", "torch"], out)
    return running.returncode


if __name__ == "__main__":
    sys.exit(main())
