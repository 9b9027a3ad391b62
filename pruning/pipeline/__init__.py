"""How pruning and training take turns.

======================================== =============================================================================
`pruning.pipeline.three_stages`          train, prune, retrain: `prune_and_retrain`, and what a deletion costs
`pruning.pipeline.gradual`               single weights deleted while a net trains
`pruning.pipeline.rows_and_columns`      whole rows and columns deleted while a net trains
`pruning.pipeline.soft_filters`          filters zeroed after every epoch, free to come back
`pruning.pipeline.new_weights`           the net that pruning found, with weights that never were trained
`pruning.pipeline.scratch_budget`        how long the control trains that starts from new weights
`pruning.pipeline.controls`              fine-tuned, scratch-E, scratch-B: what a pruned net is compared with
======================================== =============================================================================
"""

from pruning.pipeline.controls import ARMS, Arm, arms
from pruning.pipeline.gradual import Gradual
from pruning.pipeline.new_weights import redrawn
from pruning.pipeline.rows_and_columns import Groups
from pruning.pipeline.scratch_budget import Budget, masked_scratch_b, scratch_b, scratch_e
from pruning.pipeline.soft_filters import RandomFilters, SoftFilters
from pruning.pipeline.three_stages import Objective, account, delete, prune_and_retrain

__all__ = [
    "ARMS",
    "Arm",
    "Budget",
    "Gradual",
    "Groups",
    "Objective",
    "RandomFilters",
    "SoftFilters",
    "account",
    "arms",
    "delete",
    "masked_scratch_b",
    "prune_and_retrain",
    "redrawn",
    "scratch_b",
    "scratch_e",
]
