"""Self-adaptive network pruning: each convolution decides for each image which of its channels are computed."""
