"""How pruning and training take turns.

======================================== =============================================================================
`pruning.pipeline.three_stages`          train, prune, retrain: `prune_and_retrain`, and what a deletion costs
`pruning.pipeline.rows_and_columns`      whole rows and columns deleted while a net trains
======================================== =============================================================================
"""

from pruning.pipeline.rows_and_columns import Groups
from pruning.pipeline.three_stages import Objective, account, delete, prune_and_retrain

__all__ = ["Groups", "Objective", "account", "delete", "prune_and_retrain"]
