"""How the code behind `pruning.ledger.obd_limits` is broken: (id, file, a text that stands once in it, another)."""

MUTANTS = (
    ("S0-F7c", "nn/optimizers.py", "parameter.data *= parameter.mask", "pass"),
    ("S0-F7c", "pruning/masks.py", "np.lexsort((scores, alive))", "np.lexsort((scores, -alive))"),
    ("S0-F7c", "pruning/masks.py", "np.lexsort((scores, alive))", "np.lexsort((alive, scores))"),
    ("S0-F7c", "pruning/scores/obd.py", "maximum(h[name], 0) * u.data", "maximum(h[name], h[name]) * u.data"),
    ("S0-F7c", "pruning/pipeline/three_stages.py", "dead=masks.current(net, list(scores))", "dead=None"),
    ("D4a", "nn/curvature/__init__.py", "sums[name] = sums[name] + decay\n", "sums[name] = sums[name] + decay / 2\n"),
    ("D4a", "nn/losses.py", "self._target_sums() * self.p * (1 - self.p)", "self._target_sums() * self.p"),
    ("D4b", "pruning/scores/obd.py", "u.data * u.data / 2 for", "u.data * u.data for"),
    ("D4b", "nn/curvature/__init__.py", "sums[name] = sums[name] + decay\n", "sums[name] = sums[name]\n"),
    ("D5a", "pruning/scores/obd.py", "change - g[name] * u", "change"),
    ("D5a", "nn/activations.py", "df * df * hy + self.d2f(self.a) * gy", "df * df * hy + df * gy"),
    ("D5b", "nn/gradcheck.py", "(around - 2 * middle) / eps**2", "(around - middle) / eps**2"),
    ("D5b", "nn/activations.py", "return a * self.df(a)", "return abs(a)"),
    ("D5b", "nn/activations.py", "astype(a > 0, a.dtype)", "astype(a >= 0, a.dtype)"),
)
