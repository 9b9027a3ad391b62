"""Surgery: what can be cut out of a net, and what has to be folded in before."""
