"""The diagonal of the Hessian over a whole data set, by three rules."""

from typing import Any

from nn.backend import Array
from nn.module import Module
from nn.training import batches, check_data, evaluating

RULES = ("obd", "lm", "exact")


def hess_diag(
    net: Module,
    loss: Any,
    x: Array,
    t: Array,
    rule: str = "obd",
    weight_decay: float = 0.0,
    batch_size: int | None = None,
) -> dict[str, Array]:
    r"""Return d2E/du_k2 for every parameter, E the mean loss over the data in eval mode (+ decay, if any).

    Parameters
    ----------
    net, loss : the network and a loss object of `nn.losses`.
    x : (..., N) inputs, batch last.  t : (N,) labels or (K, N) targets.
    rule : "obd"
               LeCun's recursion, d2E/da_i2 = f'(a_i)^2 sum_l w_li^2 d2E/da_l2 + f''(a_i) dE/dx_i.  Exact for the
               last two weight layers under an elementwise loss and the last one under softmax cross-entropy.
           "lm"
               Levenberg-Marquardt: the same without f''.  Never negative.
           "exact"
               the full matrix of every pattern, d2E/dx2 = W^T d2E/da2 W.  Exact everywhere in a fully connected net;
               costs N * width^3.
    weight_decay : lambda, if (lambda/2) ||u||^2 over all parameters is part of E; it adds lambda everywhere.
    batch_size : patterns per sweep (None: all at once).  Batches are weighted N_b / N, so the sum is that of one batch.

    Returns
    -------
    dict, parameter name -> array of its shape.  Also left in ``parameter.hess_diag``; gradients, masks and the
    training mode are as before.

    Raises
    ------
    ValueError
        For an unknown rule, a weight decay below 0, data that `nn.training.check_data` refuses, or a layer without a
        full rule ("exact").

    References
    ----------
    LeCun, Denker, Solla, "Optimal Brain Damage", 1990; slide "Computing the second derivative".
    """
    if rule not in RULES:
        raise ValueError(f"expected a curvature rule of {', '.join(RULES)}, got {rule!r}")
    check_data(net, x, t)
    _check_decay(weight_decay)
    sums: dict[str, Array] = {}
    with evaluating(net):
        for x_batch, t_batch, weight in batches(x, t, batch_size):
            loss.forward(net.forward(x_batch), t_batch)
            if rule == "exact":
                net.backward_hessian_full(loss.backward(), loss.hessian())
            else:
                gy = loss.backward()
                net.backward_hessian(gy if rule == "obd" else 0 * gy, loss.backward_hessian())
            for name, parameter in net.named_parameters():
                sums[name] = sums.get(name, 0) + weight * parameter.hess_diag
    for name, parameter in net.named_parameters():
        parameter.hess_diag = sums[name] = sums[name] + weight_decay
    return sums


def gradient(
    net: Module, loss: Any, x: Array, t: Array, weight_decay: float = 0.0, batch_size: int | None = None
) -> dict[str, Array]:
    """Return dE/du over the whole data in eval mode; arguments and E as for `hess_diag`.

    At a minimum it is zero, which is what Optimal Brain Damage assumes ("extremal").
    """
    check_data(net, x, t)
    _check_decay(weight_decay)
    sums: dict[str, Array] = {}
    with evaluating(net):
        for x_batch, t_batch, weight in batches(x, t, batch_size):
            loss.forward(net.forward(x_batch), t_batch)
            net.backward_parameters(loss.backward())
            for name, parameter in net.named_parameters():
                sums[name] = sums.get(name, 0) + weight * parameter.grad
    return {name: sums[name] + weight_decay * parameter.data for name, parameter in net.named_parameters()}


def _check_decay(weight_decay: float) -> None:
    if not weight_decay >= 0:
        raise ValueError(f"expected a weight decay of 0 or more, got {weight_decay}")
