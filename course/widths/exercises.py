"""Nets that find their own size: six exercises and a target.  Nothing here is handed out."""

from course.spec import ProblemSet
from course.widths.cost import COST
from course.widths.gates import GATES
from course.widths.noise import NOISE
from course.widths.refitting import REFIT
from course.widths.scales import SCALES
from course.widths.search import SEARCH
from course.widths.target import TARGET

SET = ProblemSet(
    "widths",
    "Scales, noise, gates: nets that find their own size",
    (SCALES, NOISE, GATES, SEARCH, COST, REFIT),
    TARGET,
)
