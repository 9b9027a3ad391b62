"""The figures of the experiments from their records, one file an experiment; `style` is what all of them share."""
