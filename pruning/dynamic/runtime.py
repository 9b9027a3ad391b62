"""Runtime neural pruning: how many channels of the next layer are computed is the action of a decision process."""
