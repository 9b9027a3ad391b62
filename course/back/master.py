# %% [markdown]
# # Problem set: backprop, and how to doubt it
#
# Every method of this course asks a derivative what a weight is worth, or trains what is left with one. A wrong
# gradient is hard to notice: the loss often still falls, only not as far. Here you derive four backward passes in forms
# that this package does not have, and write a test that tells right gradients from wrong ones. In the end you bring a
# net back to life that has lost three quarters of its weights.
#
# **You need** notebook 01, two and a half hours for the exercises and one for the target, and NumPy.
#
# **The rules.** The batch is the last axis: `x` is $(D, N)$, one column for each pattern. Below every exercise, `check`
# compares with numbers that lie beside this file. Grading uses more cases with other numbers and sizes; the text names
# them. It runs your *definitions* (imports, functions, constants) of all cells in order, and nothing else: do not rely
# on what a scratch cell has computed. `nn`, `pruning` and `textbook` do not exist when your functions are graded. Keep
# the names of functions and of their arguments, return arrays (no lists) where a shape is given, and change no
# argument.

# %%
import matplotlib.pyplot as plt
import numpy as np
from check import check

# %% [markdown]
# ## Exercise back.1 (4 points, 20 minutes): an activation with a dip
#
# The package has six activations. This is a seventh, called swish or SiLU:
# $$f(a) = a\,\sigma(a), \qquad \sigma(a) = \frac{1}{1 + e^{-a}}.$$
# Optimal Brain Damage needs $f$, $f'$ and $f''$.
#
# (a) Derive $f'$ and $f''$ in terms of $a$, $\sigma$, $\sigma'$ and $\sigma''$. (b) Write $\sigma'$ and $\sigma''$ such
# that they keep their digits at $a = 40$ and at $a = -40$, where they are as small as $10^{-18}$. (c) Write all three,
# for `a` of any shape.
#
# *Graded, 1 point each:* three numbers (the check has it); a matrix of numbers between -6 and 6; numbers near -40;
# numbers near +40. Each output is compared relative to its own size. *Hint:* section 2 of notebook 01 has the sigmoid.


# %% exercise="back.1"
def swish(a):
    """Return f(a), f'(a), f''(a), each of the shape of a."""
    ### BEGIN SOLUTION
    e = np.exp(-np.abs(a))
    s = np.where(a > 0, 1, e) / (1 + e)
    ds = e / (1 + e) ** 2  # sigma(a) sigma(-a), an even function
    return a * s, s + a * ds, ds * (2 - a * np.tanh(a / 2))
    ### END SOLUTION


# %%
check("back.1", swish)

# %% [markdown]
# **Be your own referee, and a picture.** The central difference of $f$ is $f'$ to about ten digits, that of $f'$ is
# $f''$.

# %%
a, h = np.linspace(-6, 6, 241), 1e-5
try:
    f, df, d2f = swish(a)
    up, down = swish(a + h), swish(a - h)
    for name, own, true in (("f'", df, up[0] - down[0]), ("f''", d2f, up[1] - down[1])):
        print(f"{name}: off by {np.abs(own - true / (2 * h)).max():.0e}, should be below 1e-9")
    for name, values in (("f", f), ("f'", df), ("f''", d2f)):
        plt.plot(a, values, label=name)
    plt.legend()
    plt.show()
except NotImplementedError:
    print("back.1 is not written yet")

# %% [markdown]
# ## Exercise back.2 (5 points, 25 minutes): soft labels at a temperature
#
# A small net can learn from a large one: its labels are then not 0 and 1, and the logits $y$ are divided by a
# temperature $T$ before the softmax. With labels $t$ of any sum,
# $$E = -\frac1N \sum_n \sum_k t_{kn} \log p_{kn}, \qquad p_{kn} = \frac{e^{y_{kn}/T}}{\sum_l e^{y_{ln}/T}}.$$
# The lecture's notebook has $T = 1$.
#
# (a) Write $E$ for logits of $\pm1000$: neither may `exp` overflow nor `log` see a zero. (b) Derive
# $g = \partial E/\partial y$; take care of $\sum_k t_{kn}$. (c) Derive the diagonal
# $h = \partial^2E/\partial y^2$. (d) Write all three, for `y` and `t` of shape $(K, N)$ and the number `T`.
#
# *Graded:* two patterns of three classes (1 point, the check has it); hard labels (1); labels that do not sum to 1
# (2); logits near 1000 and near -1000 (1).


# %% exercise="back.2"
def soft_cross_entropy(y, t, T):
    """Return (E, dE/dy, the diagonal of d2E/dy2): a number, (K, N), (K, N)."""
    ### BEGIN SOLUTION
    z = (y - y.max(axis=0)) / T
    exp, N = np.exp(z), y.shape[1]
    total, sums = exp.sum(axis=0), t.sum(axis=0)
    p = exp / total
    E = np.sum(t * (np.log(total) - z)) / N
    return E, (sums * p - t) / (N * T), sums * p * (1 - p) / (N * T * T)
    ### END SOLUTION


# %%
check("back.2", soft_cross_entropy)

# %%
rng, h = np.random.default_rng(0), 1e-5
y, t, step = rng.standard_normal((4, 3)), rng.random((4, 3)), np.zeros((4, 3))
step[2, 1] = h
try:
    _, g, hy = soft_cross_entropy(y, t, 2)
    (up, gu, _), (down, gd, _) = (soft_cross_entropy(v, t, 2) for v in (y + step, y - step))
    print(f"g_21: off by {abs(g[2, 1] - (up - down) / (2 * h)):.0e}, should be below 1e-9")
    print(f"h_21: off by {abs(hy[2, 1] - (gu - gd)[2, 1] / (2 * h)):.0e}, should be below 1e-9")
    print(f"columns of g sum to {np.abs(g.sum(axis=0)).max():.0e}, should be below 1e-12. Why?")
except NotImplementedError:
    print("back.2 is not written yet")

# %% [markdown]
# ## Exercise back.3 (6 points, 50 minutes): batch norm, with patterns that count differently
#
# Batch norm divides by statistics of the batch, and so every output depends on every input of its row. In the layer
# of the package all patterns count $1/N$. Here pattern $n$ counts $v_n$, with $v_n \ge 0$ and $\sum_n v_n = 1$; a
# pattern that only fills up the batch has $v_n = 0$. For every unit $i$
# $$\mu_i = \sum_n v_n x_{in}, \quad \sigma_i^2 = \sum_n v_n (x_{in} - \mu_i)^2 + \varepsilon, \quad
# \hat x_{in} = \frac{x_{in} - \mu_i}{\sigma_i}, \quad y_{in} = \gamma_i\,\hat x_{in} + \beta_i.$$
# $\varepsilon$ is not small here.
#
# (a) Which three ways lead from $x_{in}$ to $E$? (b) Show that $\partial\sigma_i/\partial x_{in} = v_n \hat x_{in}$.
# Where do you need $\sum_n v_n = 1$? (c) Derive $\partial E/\partial x$ for a given $g_y = \partial E/\partial y$, and
# $\partial E/\partial\gamma$ and $\partial E/\partial\beta$. (d) Write them, for `x` and `gy` of shape $(D, N)$, `v`
# $(N,)$, `gamma` $(D,)$ and the number `eps`.
#
# *Graded:* four patterns (1 point, the check has it); other sizes and weights (3); one pattern (1); patterns of weight
# zero (1). *Hint:* what does the output of a batch of one pattern do when its input grows?


# %% exercise="back.3"
def batchnorm_backward(x, v, gamma, eps, gy):
    """Return (dE/dx, dE/dgamma, dE/dbeta), shapes (D, N), (D,), (D,)."""
    ### BEGIN SOLUTION
    centred = x - (x @ v)[:, None]
    deviation = np.sqrt(centred**2 @ v + eps)
    xhat = centred / deviation[:, None]
    ggamma, gbeta = np.sum(gy * xhat, axis=1), np.sum(gy, axis=1)
    through = v * (gbeta[:, None] + xhat * ggamma[:, None])  # mean and deviation
    return (gamma / deviation)[:, None] * (gy - through), ggamma, gbeta
    ### END SOLUTION


# %%
check("back.3", batchnorm_backward)

# %% [markdown]
# **Be your own referee.** If all inputs of a unit grow by the same number, nothing changes behind batch norm. What does
# that say about a row of $g_x$? And the complex step looks at a single entry.

# %%
rng = np.random.default_rng(1)
x, gy, v = rng.standard_normal((2, 5)), rng.standard_normal((2, 5)), np.array([3, 1, 0, 2, 2]) / 8
z = x + 1e-30j * (np.arange(5) == 3) * np.array([[0], [1]])
centred = z - (z @ v)[:, None]
y = centred / np.sqrt(centred**2 @ v + 0.1)[:, None]
try:
    gx, ggamma, gbeta = batchnorm_backward(x, v, np.ones(2), 0.1, gy)
    print(f"rows of gx sum to {np.abs(gx.sum(axis=1)).max():.0e}, should be below 1e-12")
    print(f"gx_13: off by {abs(gx[1, 3] - np.sum(gy * y.imag) / 1e-30):.0e}, should be below 1e-12")
except NotImplementedError:
    print("back.3 is not written yet")

# %% [markdown]
# ## Exercise back.4 (4 points, 20 minutes): a shortcut with a trained factor
#
# A block of a residual net computes $F(x) + x$. Give the shortcut a trained factor for each unit, so that training can
# decide how much of it the net needs:
# $$y_{in} = \alpha_i\,x_{in} + F_i(x_{\cdot n}).$$
# Given are $x$ and the values `F` of $F(x)$, both $(D, N)$; the Jacobian `gF` $(D, D, N)$ of $F$ at $x$, with
# `gF[i, j, n]` $= \partial F_i/\partial x_j$ for pattern $n$; `alpha` $(D,)$; and the signal `gy`
# $= \partial E/\partial y$, $(D, N)$.
#
# (a) Derive and write $\partial E/\partial x$. (b) Derive and write $\partial E/\partial\alpha$. You need not use all
# arguments.
#
# *Graded:* $\alpha = 1$ (1 point, the check has it); other $\alpha$ and other sizes (2); one pattern (1).


# %% exercise="back.4"
def gated_backward(x, F, gF, alpha, gy):
    """Return (dE/dx, dE/dalpha), shapes (D, N), (D,)."""
    ### BEGIN SOLUTION
    body = np.einsum("ijn,in->jn", gF, gy)
    return alpha[:, None] * gy + body, np.sum(gy * x, axis=1)
    ### END SOLUTION


# %%
check("back.4", gated_backward)

# %%
rng = np.random.default_rng(2)
W, x, gy = rng.standard_normal((3, 3)), rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
alpha, z = np.array([0.5, -1.0, 2.0]), x + 1e-30j * np.eye(3, 4)
F = np.tanh(W @ x)
J = (1 - F * F)[:, None, :] * W[:, :, None]
true = np.sum(gy * np.imag(alpha[:, None] * z + np.tanh(W @ z))) / 1e-30  # x_00 + x_11 + x_22
try:
    gx, galpha = gated_backward(x, F, J, alpha, gy)
    print(f"gx along the diagonal: off by {abs(np.trace(gx) - true):.0e}, should be below 1e-12")
    whole = np.sum(gy * alpha[:, None] * x)  # alpha doubled: y grows by alpha x
    print(f"galpha: off by {abs(galpha @ alpha - whole):.0e}, should be below 1e-12")
except NotImplementedError:
    print("back.4 is not written yet")

# %% [markdown]
# ## Exercise back.5 (5 points, 35 minutes): the referee
#
# Now you write the test, and the test is graded. `referee(E, g, u)` gets a function `E`, which takes an array
# $(n,)$ of real or complex numbers and returns a number; an array `u` $(n,)$; and an alleged gradient `g` of $E$ at
# `u`. It answers `True` or `False`. `E` may be called as often as you like, and nothing else is known about it; it is
# smooth.
#
# A right gradient agrees with the true one to ten digits *in every entry*. A wrong one is off by at least 0.1 % in one
# entry or in several: a factor, a sign, two entries exchanged, a term forgotten, one number off. The sizes of $E$ go
# from $10^{-6}$ to $10^6$. The parameters may have very different units: one is then of the size $10^6$ and its
# gradient tiny, another of the size $10^{-6}$ with a large gradient. Entries of a right gradient may be exactly zero.
#
# *Graded:* a right gradient and a gradient with one wrong entry (1 point each, the check has them, and two more for
# nothing); gradients of sizes from 1e-6 to 1e6 (1); parameters in units from 1e-6 to 1e6 (1); gradients with an entry
# that is zero (1). Each of the last three points is for 16 to 30 gradients, right and wrong, and all answers have to be
# right. *Hint:* section 5 of notebook 01 compares the quotients.


# %% exercise="back.5"
def referee(E, g, u):
    """Return whether g is the gradient of E at u, True or False."""
    ### BEGIN SOLUTION
    h = 1e-30  # nothing is subtracted: it may be that small
    right = np.array([np.imag(E(u + 1j * h * e)) / h for e in np.eye(len(u))])
    return bool(np.all(np.abs(g - right) <= 1e-6 * np.abs(right)))
    ### END SOLUTION


# %%
check("back.5", referee)

# %% [markdown]
# **Test your test.** A test that has never failed has not shown that it can. Plant more mistakes here.

# %%
u = np.array([3.0e5, -2.0e-6, 0.7, 1.0])
units = np.array([1e-5, 1e6, 1.0, 0.0])
right = np.cos(units * u) * units
slip = right * np.array([1, 1, 1.001, 1])
try:
    for g, words in ((right, "True"), (slip, "False"), (2 * right, "False"), (-right, "False")):
        print(referee(lambda w: np.sum(np.sin(units * w)), g, u), "should be", words)
except NotImplementedError:
    print("back.5 is not written yet")

# %% [markdown]
# ## Target: back to life (10 points, 60 minutes)
#
# A net with 64 inputs, 20 hidden units and 10 outputs reads digits of 8 x 8 pixels: $y = f(W_1x + b_1)$ with the swish
# of back.1, and the largest of $W_2y + b_2$ is its answer. It was trained on the 1200 images `x` $(64, 1200)$, with
# labels `t` $(1200,)$ from 0 to 9, and reads about 96 % of other images right. Then three quarters of its weights were
# drawn by lot and deleted: `M1` $(20, 64)$ and `M2` $(10, 20)$ hold 1 for those that stay. What is left reads about one
# in five (between 9 % and 33 % with fourteen keys).
#
# **The goal:** weights and biases with which at least 85 % of about 600 unseen images are read right. All weights
# that the masks delete have to be exactly zero; everything else may be trained. The lecturer's key decides the net,
# the images and the masks. Your function may take 20 seconds. It may call your functions from above.
#
# Some questions on the way: what goes back through $W_2$ and $f$ to $W_1$? Where does the mask belong, on the weights
# or on the gradients, if there is momentum (notebook 01, section 7.3)? How do you know that your gradient is right?


# %% exercise="back.target"
def gradients(W1, b1, W2, b2, x, t):
    """Return the gradients of the mean cross-entropy, in this order, if you want."""
    ### BEGIN SOLUTION
    y, slope, _ = swish(W1 @ x + b1[:, None])
    _, gz, _ = soft_cross_entropy(W2 @ y + b2[:, None], np.eye(10)[:, t], 1)
    ga = slope * (W2.T @ gz)
    return ga @ x.T, ga.sum(axis=1), gz @ y.T, gz.sum(axis=1)
    ### END SOLUTION


def retrain(W1, b1, W2, b2, M1, M2, x, t):
    """Return (W1, b1, W2, b2), trained under the masks."""
    ### BEGIN SOLUTION
    rng, masks = np.random.default_rng(0), (M1, 1, M2, 1)
    weights = [W1 * M1, b1, W2 * M2, b2]
    speed = [np.zeros(w.shape) for w in weights]
    for _ in range(40):
        for batch in np.array_split(rng.permutation(len(t)), 40):
            found = gradients(*weights, x[:, batch], t[batch])
            speed = [0.9 * s - 0.1 * g for s, g in zip(speed, found)]
            weights = [(w + s) * m for w, s, m in zip(weights, speed, masks)]
    return tuple(weights)
    ### END SOLUTION


# %% [markdown]
# There is no check for the target. Try it on ten noisy patterns of sixteen stripes, and count the deleted weights that
# are not zero.

# %%
rng = np.random.default_rng(3)
t = rng.integers(0, 10, 1200)
x = 0.3 * rng.random((64, 1200)) + np.repeat(rng.random((16, 10))[:, t], 4, axis=0)
W1, W2, zero = rng.standard_normal((20, 64)) / 8, rng.standard_normal((10, 20)) / 4, np.zeros(20)
M1, M2 = (1.0 * (rng.random(W.shape) < 0.25) for W in (W1, W2))
try:
    V1, c1, V2, c2 = retrain(W1, zero, W2, zero[:10], M1, M2, x[:, :900], t[:900])
    print(f"{np.sum(V1[M1 == 0] != 0) + np.sum(V2[M2 == 0] != 0)} deleted weights, should be 0")
    y = swish(V1 @ x[:, 900:] + c1[:, None])[0]
    right = np.argmax(V2 @ y + c2[:, None], axis=0) == t[900:]
    print(f"{np.mean(right):.1%} of new patterns are read right")
except NotImplementedError:
    print("the target is not written yet")
