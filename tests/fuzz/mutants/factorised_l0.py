"""How the code behind `pruning.ledger.factorised_l0` is broken: (id, file, a text that stands once in it, another)."""

FLOP = "pruning/penalties/factorised_l0.py"
RECURRENT = "nn/recurrent.py"
GATES = "pruning/penalties/hard_concrete.py"
MUTANTS = (
    ("D110", FLOP, "return D * m // (D + m)", "return D * m // (D + m) + 1"),
    ("D110", FLOP, "return D * m // (D + m)", "return D * m // max(D, m)"),
    ("D111", FLOP, "return self.front.n_in + self.behind.n_out", "return self.front.n_in"),
    ("D111", FLOP, "return 1 - left / weights(net)", "return left / weights(net)"),
    ("D112", FLOP, "slope = -self.sizes[name]", "slope = self.sizes[name]"),
    ("D112", FLOP, "(l1 + 2 * l2 * excess)", "(l1 + l2 * excess)"),
    ("D113", FLOP, "np.array([-excess, -excess * excess])", "np.array([excess, excess * excess])"),
    ("D113", FLOP, "slope = -self.sizes[name]", "slope = self.sizes[name]"),
    ("D114", FLOP, "np.array([-excess, -excess * excess])", "np.array([-excess, excess * excess])"),
    ("D114", FLOP, "np.array([-excess, -excess * excess])", "np.array([-excess, -excess])"),
    ("D115", GATES, "weights / 2", "weights"),
    ("D115", GATES, "s = ((nodes + 1) / 2 - self.gamma)", "s = ((nodes + 1) / 2 + self.gamma)"),
    ("D116", FLOP, "- LIMIT", "+ LIMIT"),
    ("D116", FLOP, "gate.beta * math.log(-gate.gamma / gate.zeta) - LIMIT", "-LIMIT"),
    ("D117", RECURRENT, "carry = gc[-1] * f[:, t, :]", "carry = gc[-1]"),
    ("D117", RECURRENT, "gC = xp.stack(gc[::-1], axis=1)", "gC = xp.stack(gc, axis=1)"),
)
