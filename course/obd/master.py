# %% [markdown]
# # Problem set: what a weight is worth
#
# A trained net has more weights than it needs. To delete the right ones, one must know what each is worth: by how
# much the error $E$ grows when it goes. Optimal Brain Damage answers with second derivatives, and lets all other
# weights stay as they are. Optimal Brain Surgeon lets them answer. Here you derive and write both, in forms that
# differ a little from those of the lecture: with a constant in front of the loss, with a trained scale, with a
# gradient that is not zero. In the end you delete three quarters of the weights of a net that reads digits.
#
# **You need** notebooks 01, 02 and 10, about three hours for the exercises and one for the target, and NumPy.
# Exercises obd.1 to obd.4 need no notebook after 02.
#
# **The rules.** The batch is the last axis: `x` is $(I, N)$, `W` is $(O, I)$. Below every exercise, `check` compares
# with numbers that lie beside this file. Grading uses more cases with other numbers and sizes; the text names them. It
# runs your *definitions* (imports, functions, constants) of all cells in order, and nothing else: do not rely on what a
# scratch cell has computed. `nn`, `pruning` and `textbook` do not exist when your functions are graded. Keep the names
# of functions and of their arguments, return arrays (no lists) where a shape is given, and change no argument.

# %%
import matplotlib.pyplot as plt
import numpy as np
from check import check

# %% [markdown]
# ## Exercise obd.1 (4 points, 20 minutes): where the recursion starts
#
# The slide has $E = \sum (d - x)^2$. Books write $\frac12\sum$, and code takes means. Let
# $$E = c\,\sum_n\sum_i (d_{in} - y_{in})^2, \qquad y = f(a),$$
# with any constant $c$.
#
# (a) Derive $\partial E/\partial a_{in}$. (b) Derive $\partial^2E/\partial a_{in}^2$. (c) Write it, for $y$, $f'(a)$,
# $f''(a)$ and $d$, each $(K, N)$, and the number $c$.
#
# *Graded:* the slide's loss (1 point, the check has it); other $c$ and other activations (2); one unit and one
# pattern (1). *Hint:* the second time, two factors depend on $a$.


# %% exercise="obd.1"
def boundary_hessian(y, df, d2f, d, c):
    """Return d2E/da2, shape (K, N)."""
    ### BEGIN SOLUTION
    return 2 * c * (df * df - (d - y) * d2f)
    ### END SOLUTION


# %%
check("obd.1", boundary_hessian)

# %% [markdown]
# ## Exercise obd.2 (5 points, 40 minutes): through a layer with a trained scale
#
# A layer computes
# $$a_{in} = s_i \sum_j w_{ij}\, x_{jn} + b_i,$$
# with one trained scale $s_i$ for each output, as a batch norm does at test time. For $s = 1$ it is the layer of the
# lecture. Given is $h_a = \partial^2E/\partial a^2$, shape $(O, N)$; second derivatives of pairs of outputs are zero.
#
# Derive, and write, the second derivatives with respect to (a) $W$, (b) $s$, (c) $b$ and (d) $x$. Those of $W$, $s$ and
# $b$ are sums over the batch.
#
# *Graded:* $s = 1$ (1 point, the check has it); trained scales and other sizes (3); one pattern, one input or one
# output (1). *Hint:* $E$ is a parabola in each number alone. By how much does $a$ change when this number grows by 1?


# %% exercise="obd.2"
def scaled_linear_hessian(W, s, x, ha):
    """Return (hW, hs, hb, hx), shapes (O, I), (O,), (O,), (I, N)."""
    ### BEGIN SOLUTION
    hz = ha * (s * s)[:, None]  # d2E/d(Wx)2
    hW = hz @ (x * x).T
    hs = np.sum(ha * (W @ x) ** 2, axis=1)
    hb = np.sum(ha, axis=1)
    hx = (W * W).T @ hz
    return hW, hs, hb, hx
    ### END SOLUTION


# %%
check("obd.2", scaled_linear_hessian)

# %% [markdown]
# **Be your own referee.** $E = \frac12\sum h_a a^2$ has the curvature $h_a$. It is a parabola in every single weight,
# and the second difference of a parabola is its second derivative, with a step of any size.

# %%
rng = np.random.default_rng(0)
W, s, x = rng.standard_normal((2, 3)), np.array([0.5, 2.0]), rng.standard_normal((3, 4))
ha, step = rng.standard_normal((2, 4)), np.zeros((2, 3))
step[1, 2] = 1.0
up, here, down = (0.5 * np.sum(ha * (s[:, None] * (V @ x)) ** 2) for V in (W + step, W, W - step))
try:
    own = scaled_linear_hessian(W, s, x, ha)[0][1, 2]
    print(f"w_12: off by {abs(own - (up - 2 * here + down)):.0e}, should be below 1e-12")
except NotImplementedError:
    print("obd.2 is not written yet")

# %% [markdown]
# ## Exercise obd.3 (5 points, 25 minutes): which weights go
#
# Given are weights `u`, curvatures `h` and a mask (1 alive, 0 gone), each $(O, I)$, one row for each unit, and a number
# `m`. A weight that is gone is 0 in `u`. The lecture deletes from one list of all weights. Then a unit may lose all
# its inputs. Here **every row loses its `m` live weights of the smallest saliency, but never its last one**.
#
# (a) Return the saliency of every weight; a negative curvature counts as 0. (b) Return the new mask. Of equal
# saliencies the lowest index goes first. A row with too few weights loses all but one; an empty row stays empty.
#
# *Graded, 1 point each:* two rows of five weights (the check has it); some weights are gone already; negative
# curvatures; equal saliencies; rows with few weights left, or none. *Hint:* `np.argsort(..., kind="stable")` keeps the
# order of equals.


# %% exercise="obd.3"
def delete(u, h, mask, m):
    """Return (saliency, new mask), both (O, I)."""
    ### BEGIN SOLUTION
    s = np.maximum(h, 0) * u * u / 2
    new = mask.copy()
    for i, row in enumerate(np.where(mask > 0, s, np.inf)):
        number = max(0, min(m, int(np.sum(mask[i] > 0)) - 1))
        new[i, np.argsort(row, kind="stable")[:number]] = 0
    return s, new
    ### END SOLUTION


# %%
check("obd.3", delete)

# %% [markdown]
# ## Exercise obd.4 (4 points, 25 minutes): two at once
#
# OBD adds up the prices of single weights. That is right under three approximations. Take two of them back: the
# gradient $g$ need not be zero, and the two weights $k$ and $l$ have a second derivative $h_{kl}$ in common. $E$ is
# still a parabola.
#
# (a) Put the step $\delta u_k = -u_k$, $\delta u_l = -u_l$ into the expansion of $E$ (slide "Optimal brain damage").
# (b) Count how often $h_{kl}$ occurs in its double sum. (c) Write the change of $E$, for `u`, `h` and `g` of shape (2,)
# and the number `hkl`. Nothing is cut at zero here: a negative curvature is used as it is.
#
# *Graded:* at a minimum (1 point, the check has it); away from one (2); one curvature is negative (1).


# %% exercise="obd.4"
def pair_price(u, h, hkl, g):
    """Return the change of E, a number, when both weights are deleted."""
    ### BEGIN SOLUTION
    diagonal = np.sum(h * u * u) / 2
    return diagonal + hkl * u[0] * u[1] - g @ u
    ### END SOLUTION


# %%
check("obd.4", pair_price)

# %% [markdown]
# **Be your own referee.** Two weights that see nearly the same input: $E = \frac1N\sum_n (t_n - u\cdot x_n)^2$. The
# second derivatives are twice the mean products of the inputs, and $E$ before and after needs no derivative at all.

# %%
rng = np.random.default_rng(1)
x = rng.standard_normal((1, 9)) + 0.3 * rng.standard_normal((2, 9))
t, u = rng.standard_normal(9), np.array([0.7, -1.2])
H, g = 2 / 9 * (x @ x.T), -2 / 9 * (x @ (t - u @ x))
true = np.mean(t**2) - np.mean((t - u @ x) ** 2)
try:
    own = pair_price(u, np.diag(H), H[0, 1], g)
    print(f"off by {abs(own - true):.0e}, should be below 1e-12; each alone adds up to")
    print(f"{np.diag(H) @ u**2 / 2 - g @ u:.3f}, the two together cost {true:.3f}")
except NotImplementedError:
    print("obd.4 is not written yet")

# %% [markdown]
# ## Exercise obs.1 (5 points, 40 minutes): the surgeon, before the minimum
#
# Now all other weights may answer. On the parabola
# $$\delta E = g^\top\delta w + \tfrac12\,\delta w^\top H\,\delta w$$
# find the step $\delta w$ that deletes all weights in the list $Q$, $\delta w_Q = -w_Q$, at the least $\delta E$.
# Hassibi and Stork take $g = 0$. Here $g$ need not be zero, as in a net whose training was stopped early.
#
# (a) Write the Lagrangian, and set its derivative to zero. (b) Which step would be best without any deletion? (c) Solve
# for $\delta w$ and for $\delta E$, and write both. $H$ is $(K, K)$, symmetric and positive definite; `w` and `g` are
# $(K,)$; `Q` is an array of indices in any order.
#
# *Graded:* one weight at a minimum (1 point, the check has it); one weight with $g \neq 0$ (1); pairs (2); all but one
# weight (1).


# %% exercise="obs.1"
def obs(H, w, Q, g):
    """Return (the change of E, dw of shape (K,))."""
    ### BEGIN SOLUTION
    Hinv = np.linalg.inv(H)
    lowest = w - Hinv @ g  # the bottom of the parabola
    far = np.linalg.solve(Hinv[np.ix_(Q, Q)], lowest[Q])
    dw = -Hinv @ g - Hinv[:, Q] @ far
    return lowest[Q] @ far / 2 - g @ Hinv @ g / 2, dw
    ### END SOLUTION


# %%
check("obs.1", obs)

# %% [markdown]
# **Be your own referee.** A right step needs no formula to be known: $w + \delta w$ is zero in $Q$, and the slope
# $g + H\delta w$ is zero everywhere else.

# %%
rng = np.random.default_rng(2)
A, w, g, Q = rng.standard_normal((5, 20)), rng.standard_normal(5), rng.standard_normal(5), [3, 1]
H = A @ A.T / 20
try:
    price, dw = obs(H, w, np.array(Q), g)
    print(f"w + dw in Q: {np.abs(w + dw)[Q].max():.0e}, should be below 1e-12")
    print(f"slope elsewhere: {np.abs(g + H @ dw)[[0, 2, 4]].max():.0e}, should be below 1e-12")
    print(f"price: off by {abs(price - g @ dw - dw @ H @ dw / 2):.0e}, should be below 1e-12")
except NotImplementedError:
    print("obs.1 is not written yet")

# %% [markdown]
# **A picture.** Two weights, at a minimum. Deleting the first one puts us on the vertical axis. Damage goes there
# straight; the surgeon looks for the lowest place on it.

# %%
H, w = np.array([[1.0, 0.8], [0.8, 1.0]]), np.array([1.0, 0.5])
X, Y = np.meshgrid(np.linspace(-0.5, 2, 80), np.linspace(-0.5, 2, 80))
U = np.stack([X - w[0], Y - w[1]])
plt.contour(X, Y, np.einsum("ixy,ij,jxy->xy", U, H, U) / 2, 12, colors="gray", linewidths=0.7)
plt.plot(*zip(w, w * [0, 1]), "o-", label="damage")
try:
    plt.plot(*zip(w, w + obs(H, w, np.array([0]), np.zeros(2))[1]), "s-", label="surgeon")
except NotImplementedError:
    print("obs.1 is not written yet")
plt.axvline(0, color="black", linewidth=0.7)
plt.legend()
plt.show()

# %% [markdown]
# ## Exercise obs.2 (5 points, 40 minutes): one after the other, in a layer
#
# A least-squares layer $a = Wx$ has one Hessian for all rows of $W$, because all see the same inputs. Rows do not
# interact. Given are $H^{-1}$ $(I, I)$, $W$ $(O, I)$ at its minimum, and a number `m`. Delete `m` weights of the whole
# matrix, one after the other: each time the cheapest of all that are left, with the answer of its row.
#
# (a) Which part of the inverse changes after a deletion, and for which rows? Derive the downdate: the inverse of $H$
# without row and column $q$. (b) Return the matrix after `m` deletions, its deleted weights exactly zero or zero but
# for rounding, and the sum of the `m` prices, each at its deletion.
#
# *Graded:* one deletion (1 point, the check has it); three deletions (1); inputs that stand for one another (2); all
# but two weights go, so that a row may become empty (1). *Hint:* the same numbers come out if a row deletes its
# weights as one block of obs.1, with $g = 0$.


# %% exercise="obs.2"
def greedy_obs(Hinv, W, m):
    """Return (the new W of shape (O, I), the sum of the prices)."""
    ### BEGIN SOLUTION
    W, live, price = W.copy(), np.ones(W.shape, bool), 0.0
    inverses = [Hinv.copy() for _ in W]
    for _ in range(m):
        d = np.where(live, [np.diag(V) for V in inverses], 1.0)
        s = np.where(live, W * W / (2 * d), np.inf)
        i, q = np.unravel_index(np.argmin(s), s.shape)
        price, live[i, q], V = price + s[i, q], False, inverses[i]
        W[i] = (W[i] - W[i, q] / V[q, q] * V[:, q]) * live[i]
        inverses[i] = V - np.outer(V[:, q], V[q]) / V[q, q]
    return W, price
    ### END SOLUTION


# %%
check("obs.2", greedy_obs)

# %%
rng = np.random.default_rng(3)
A, W = rng.standard_normal((4, 20)), rng.standard_normal((2, 4))
H = A @ A.T / 20
try:
    new, price = greedy_obs(np.linalg.inv(H), W, 5)
    dead, true = np.abs(new) < 1e-12, np.sum((new - W) @ H * (new - W)) / 2
    print(f"{dead.sum()} weights are zero, should be 5")
    print(f"slope of the others: {np.abs((new - W) @ H)[~dead].max():.0e}, should be below 1e-12")
    print(f"price: off by {abs(price - true):.0e}, should be below 1e-12")
except NotImplementedError:
    print("obs.2 is not written yet")

# %% [markdown]
# ## Target: three quarters of the weights go (10 points, 60 minutes)
#
# A net with 64 inputs, 20 ReLU units and 10 outputs reads digits of 8 x 8 pixels: $y = \max(W_1x + b_1, 0)$, and the
# largest of $W_2y + b_2$ is its answer. It was trained with the mean cross-entropy of the softmax. You get the net,
# and the 1200 images `x` $(64, 1200)$ and labels `t` $(1200,)$ that it was trained on. Return a mask of zeros and ones
# for $W_1$ and for $W_2$. The judge multiplies them in, changes nothing else, and shows the net about 600 images that
# it has not seen.
#
# **The goal:** at most 25 % of the weights of both matrices together stay, and at least 80 % of the unseen images are
# read right. All of the net reads about 96 %.
#
# The hidden units come in different scales. What goes into unit $i$, its row of $W_1$ and its bias, is multiplied by
# some $\alpha_i$ between 1/100 and 100, and its column of $W_2$ is divided by $\alpha_i$. The answers of the net stay
# as they are, but what is left after deletion by magnitude reads one digit in ten. Is your score the same in every
# scale? The lecturer's key decides the net, the images and the scales. Your function may take 20 seconds.
#
# Some questions on the way: which curvature does cross-entropy have at the outputs? How does it get back to $W_2$, and
# through ReLU to $W_1$? What happens to the curvatures when half of the weights are gone?


# %% exercise="obd.target"
def saliencies(W1, b1, W2, b2, x):
    """Return the saliency of every weight, (20, 64) and (10, 20), if you want one."""
    ### BEGIN SOLUTION
    y = np.maximum(W1 @ x + b1[:, None], 0)
    z = W2 @ y + b2[:, None]
    p = np.exp(z - z.max(axis=0))
    p /= p.sum(axis=0)
    hz = p * (1 - p) / x.shape[1]
    ha = (W2 * W2).T @ hz * (y > 0)
    return ha @ (x * x).T * W1 * W1 / 2, hz @ (y * y).T * W2 * W2 / 2
    ### END SOLUTION


def masks(W1, b1, W2, b2, x, t):
    """Return (M1, M2), zeros and ones of the shapes of W1 and W2."""
    ### BEGIN SOLUTION
    M1, M2 = np.ones(W1.shape), np.ones(W2.shape)
    for k in range(1, 11):  # a few at a time, with new curvatures
        s = np.concatenate([each.ravel() for each in saliencies(W1 * M1, b1, W2 * M2, b2, x)])
        kept, flat = int(len(s) * 0.25 ** (k / 10)), np.zeros(len(s))
        flat[np.argsort(-s)[:kept]] = 1
        M1, M2 = flat[: W1.size].reshape(W1.shape), flat[W1.size :].reshape(W2.shape)
    return M1, M2
    ### END SOLUTION


# %% [markdown]
# There is no check for the target. Try your function on a net of random weights, whose inputs are of different sizes:
# how often does the rest of the net answer like all of it?

# %%
rng = np.random.default_rng(4)
a, x = np.geomspace(0.01, 100, 20), rng.random((64, 2400)) * np.linspace(0, 1, 64)[:, None] ** 4
W1, W2 = a[:, None] * rng.standard_normal((20, 64)), rng.standard_normal((10, 20)) / a
b1, b2 = np.zeros(20), np.zeros(10)
whole = np.argmax(W2 @ np.maximum(W1 @ x, 0), axis=0)
try:
    M1, M2 = masks(W1, b1, W2, b2, x[:, :1200], whole[:1200])
    print(f"{(M1.sum() + M2.sum()) / 1480:.1%} of the weights stay, should be at most 25 %")
    rest = np.argmax((W2 * M2) @ np.maximum((W1 * M1) @ x, 0), axis=0)
    print(f"{np.mean((rest == whole)[1200:]):.1%} of new inputs get the same answer")
except NotImplementedError:
    print("the target is not written yet")
