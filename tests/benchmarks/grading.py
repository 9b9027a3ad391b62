"""Two hundred submissions of the set `obd`, five of them with endless loops, graded two at a time: time and memory.

python tests/benchmarks/grading.py [SUBMISSIONS]

The target of the set is left out: what it costs is the judge's measuring, not the grader.  Run by root, the grading is
done by an ordinary user, as in the tests.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
MOST_SECONDS, MOST_BYTES, ENDLESS = 240, 300e6, 5
GRADE = """
import dataclasses, resource, sys
from pathlib import Path
from course import grade, selftest, submission
problems = selftest.problem_set("obd")
target = dataclasses.replace(problems.target, draw=lambda rng: ({}, None), measure=lambda *_: (False, "left out"))
sheet = grade.sheet(dataclasses.replace(problems, target=target), "a key")
handed_in = submission.found(Path("subs"))
reports = grade.folder(sheet, "a key", handed_in, Path("out"), 2, 10.0)
whole = sum(e.points for e in problems.exercises)
print(sorted({report.score() for report in reports}), whole)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def main(number=200):
    """Grade, print what it took, and say whether the bounds hold."""
    from ordinary_user import command, missing, room

    from course import release, selftest

    if missing():
        sys.exit(f"not measured: {missing()}")
    cells = [cell for cell in release.cells(selftest.master("obd")) if cell.kind == "code"]
    solution = "\n# %%\n".join(release.solved(cell.source) for cell in cells)
    loop = "\n# %%\ndef boundary_hessian(y, df, d2f, d, c):\n    while True: pass\n"
    with room() as folder:
        (folder / "subs").mkdir()
        for k in range(number):
            text = solution + (loop if k < ENDLESS else "") + f"\n# %%\nK = {k}\n"
            (folder / "subs" / f"student {k:03}.py").write_text(text, encoding="utf-8")
        start = time.perf_counter()
        done = subprocess.run(
            [*command(folder), sys.executable, "-c", GRADE],
            cwd=folder,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    scores, memory = done.stdout.strip().splitlines()
    largest = max(int(memory), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * 1024
    print(
        f"{number} submissions, {ENDLESS} endless: {seconds:.0f} s, the largest process {largest / 1e6:.0f} MB;",
        end=" ",
    )
    print(f"scores that occur, and all points: {scores}")
    sys.exit(seconds > MOST_SECONDS or largest > MOST_BYTES)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
