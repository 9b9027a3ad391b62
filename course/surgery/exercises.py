"""Surgery: six exercises and a target.  Nothing here is handed out."""

from course.spec import ProblemSet
from course.surgery.counting import KEPT, SAVED
from course.surgery.folding import CONSTANT, FOLD
from course.surgery.paths import PURIFY, UNUSED
from course.surgery.target import TARGET

SET = ProblemSet("surgery", "What can be cut out of a net", (KEPT, FOLD, CONSTANT, SAVED, PURIFY, UNUSED), TARGET)
