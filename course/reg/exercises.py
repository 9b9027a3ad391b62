"""From least squares to sparsity: five exercises and a target.  Nothing here is handed out."""

from course.reg.ball import BALL
from course.reg.pursuit import OMP
from course.reg.target import TARGET
from course.reg.thresholds import ELASTIC, JUMP
from course.reg.weighted import RIDGE
from course.spec import ProblemSet

SET = ProblemSet("reg", "From least squares to sparsity", (RIDGE, ELASTIC, JUMP, BALL, OMP), TARGET)
