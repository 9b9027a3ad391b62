"""Selection: ADMM, channels by the lasso and slimming, six exercises and a target.  Nothing here is handed out."""

from course.select.channels import GRAM, REFIT
from course.select.slimming import BUDGET, SLIM
from course.select.splitting import N_OF_M, ROUND
from course.select.target import TARGET
from course.spec import ProblemSet

SET = ProblemSet("select", "What may stay", (N_OF_M, ROUND, GRAM, REFIT, SLIM, BUDGET), TARGET)
