import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nn
from pruning import masks
from pruning.scores import gates


def net(seed=0):
    return nn.models.mlp((3, 5, 4), np.random.default_rng(seed))


def zeros(keep):
    return sum(int(np.sum(mask == 0)) for mask in keep.values())


def test_prunable_is_every_weight_matrix_and_no_bias():
    assert list(masks.prunable(net())) == ["1.W", "3.W"]
    assert list(masks.prunable(nn.Linear(2, 3, None))) == ["W"]
    assert list(masks.prunable(net(), ["3.b"])) == ["3.b"]


@pytest.mark.parametrize("scope", ["global", "layer"])
@given(
    shapes=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 6)), min_size=1, max_size=3),
    sparsity=st.floats(0, 1),
    values=st.sampled_from([[0.0], [0.0, 1.0], [0.0, 1.0, 2.0, 3.0]]),
    seed=st.integers(0, 100),
)
def test_counts_are_exact_under_ties(scope, shapes, sparsity, values, seed):
    rng = np.random.default_rng(seed)
    scores = {str(i): rng.choice(values, shape) for i, shape in enumerate(shapes)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of an emptied layer, which has its own test
        keep = masks.smallest(scores, sparsity, scope)
    if scope == "global":
        assert zeros(keep) == round(sparsity * sum(score.size for score in scores.values()))
    else:
        assert all(np.sum(keep[name] == 0) == round(sparsity * scores[name].size) for name in scores)
    for name, mask in keep.items():
        assert mask.shape == scores[name].shape and mask.dtype == scores[name].dtype
    pool = [(scores, keep)] if scope == "global" else [({n: scores[n]}, {n: keep[n]}) for n in scores]
    for group, kept in pool:
        gone = [s for n in group for s in group[n][kept[n] == 0]]
        left = [s for n in group for s in group[n][kept[n] == 1]]
        assert not gone or not left or max(gone) <= min(left)


def test_ties_go_to_the_lowest_index():
    keep = masks.smallest({"a": np.ones((2, 2)), "b": np.ones((1, 2))}, 0.5)
    np.testing.assert_array_equal(keep["a"], [[0, 0], [0, 1]])
    np.testing.assert_array_equal(keep["b"], [[1, 1]])


def test_ties_of_many_weights_go_to_the_lowest_index_too():
    score = np.random.default_rng(0).integers(0, 3, (50, 40)).astype(float)  # a sort that is not stable mixes these
    keep = masks.smallest({"a": score}, 0.5)["a"].ravel()
    expected = np.ones(2000)
    order = sorted(range(2000), key=lambda k: (score.flat[k], k))
    expected[order[:1000]] = 0
    np.testing.assert_array_equal(keep, expected)


def test_global_is_not_layer_wise():
    scores = {"a": np.array([[1.0, 2.0, 3.0, 4.0]]), "b": np.array([[5.0, 6.0, 7.0, 8.0]])}
    together = masks.smallest(scores, 0.375)
    apart = masks.smallest(scores, 0.5, "layer")
    assert (zeros({"a": together["a"]}), zeros({"b": together["b"]})) == (3, 0)
    assert (zeros({"a": apart["a"]}), zeros({"b": apart["b"]})) == (2, 2)


def test_an_emptied_layer_is_announced():
    scores = {"a": np.array([[1.0, 2.0]]), "b": np.array([[5.0, 6.0]])}
    with pytest.warns(UserWarning, match="a loses all of its 2 weights at sparsity 0.5") as announced:
        masks.smallest(scores, 0.5)
    assert [each.filename for each in announced] == [__file__]  # where it was asked for


def test_a_score_of_minus_infinity_is_cheap_but_not_dead():
    keep = masks.smallest({"a": np.array([[1.0, -np.inf, 0.5]])}, 0.0)
    assert keep["a"].all()


def test_the_dead_stay_dead_and_count():
    scores = {"a": np.array([[9.0, 0.0, 0.0, 8.0]])}
    dead = {"a": np.array([[0.0, 1.0, 1.0, 1.0]])}
    np.testing.assert_array_equal(masks.smallest(scores, 0.5, dead=dead)["a"], [[0, 0, 1, 1]])
    with pytest.raises(ValueError, match=r"1 of 4 weights are deleted already, more than the sparsity 0.0 allows"):
        masks.smallest(scores, 0.0, dead=dead)


@pytest.mark.parametrize("sparsity", [-0.1, 1.1, float("nan"), "0.5", None])
def test_a_sparsity_outside_0_1_is_refused(sparsity):
    with pytest.raises(ValueError, match="sparsity from 0 to 1"):
        masks.smallest({"a": np.ones((2, 2))}, sparsity)


def test_bad_scores_and_scopes_are_refused():
    with pytest.raises(ValueError, match="without NaN, got 1 of them in a"):
        masks.smallest({"a": np.array([[1.0, np.nan]])}, 0.5)
    with pytest.raises(ValueError, match="at least one array, got none"):
        masks.smallest({}, 0.5)
    with pytest.raises(ValueError, match="masks of a, got one of b"):
        masks.smallest({"a": np.ones((2, 2))}, 0.5, dead={"b": np.ones((2, 2))})
    with pytest.raises(ValueError, match=r"mask of shape \(2, 2\) for a, got \(3, 3\)"):
        masks.smallest({"a": np.ones((2, 2))}, 0.5, dead={"a": np.ones((3, 3))})
    with pytest.raises(ValueError, match=r"list of names, got the string '1\.W'"):
        masks.prunable(net(), "1.W")
    with pytest.raises(ValueError, match="scope"):
        masks.smallest({"a": np.ones((2, 2))}, 0.5, scope="filter")


def test_apply_is_idempotent_and_exact():
    each = net()
    keep = masks.smallest({name: np.abs(p.data) for name, p in masks.prunable(each).items()}, 0.6)
    masks.apply(each, keep)
    once = nn.gradcheck.flat(each)
    masks.apply(each, keep)
    np.testing.assert_array_equal(nn.gradcheck.flat(each), once)
    assert masks.counts(each) == (35 - 21, 35)
    assert masks.counts(net()) == (35, 35)
    for name, parameter in masks.prunable(each).items():
        np.testing.assert_array_equal(parameter.mask, keep[name])
        np.testing.assert_array_equal(parameter.data == 0, keep[name] == 0)


def test_apply_changes_nothing_unless_everything_fits():
    each = net()
    before = nn.gradcheck.flat(each)
    good = np.zeros((5, 3))
    for keep, message in [
        ({"1.W": good, "9.W": good}, "no parameter 9.W; it has 1.W, 1.b"),
        ({"1.W": good, "3.W": np.ones((3, 3))}, r"mask of shape \(4, 5\) or \(4,\) for 3.W, got \(3, 3\)"),
        ({"1.W": good, "3.W": np.full((4, 5), 0.5)}, "zeros and ones for 3.W"),
    ]:
        with pytest.raises(ValueError, match=message):
            masks.apply(each, keep)
        np.testing.assert_array_equal(nn.gradcheck.flat(each), before)


def test_masks_run_on_every_library(library):
    score = np.random.default_rng(0).permutation(15).reshape(5, 3) / 15
    keep = masks.smallest({"1.W": library.xp.asarray(score)}, 0.4)
    np.testing.assert_array_equal(nn.backend.to_numpy(keep["1.W"]), masks.smallest({"1.W": score}, 0.4)["1.W"])
    each = net().to(library.xp)
    masks.apply(each, keep)
    W = each.layers[1].W
    assert type(W.mask) is type(W.data)
    np.testing.assert_array_equal(nn.backend.to_numpy(W.data) == 0, nn.backend.to_numpy(keep["1.W"]) == 0)
    assert masks.counts(each) == (35 - 6, 35)


def test_names_from_an_iterator_are_all_of_them():
    each = net()
    keep = {"1.W": np.ones((5, 3)), "3.b": np.zeros(4)}
    masks.apply(each, keep)
    for names in (iter(keep), (name for name in keep), dict.fromkeys(keep), tuple(keep), keep.keys()):
        assert masks.counts(each, names) == (15, 19)
    assert list(masks.prunable(each, iter(keep))) == list(masks.current(each, iter(keep))) == list(keep)
    with pytest.raises(ValueError, match="at least one parameter, got none"):
        masks.counts(each, iter([]))


@pytest.mark.parametrize(
    "call", [masks.prunable, masks.counts, masks.current, lambda net, names=("1.W",): gates.columns(net, names)]
)
def test_what_is_no_net_and_what_holds_no_names_is_one_sentence(call):
    for wrong in ([], None, 3, net().layers):
        with pytest.raises(TypeError, match=rf"^expected a net, got {type(wrong).__name__}$"):
            call(wrong)
        with pytest.raises(TypeError, match=rf"^expected a net, got {type(wrong).__name__}$"):
            masks.apply(wrong, {"1.W": np.ones((5, 3))})
        with pytest.raises(TypeError, match=rf"^expected a net, got {type(wrong).__name__}$"):
            gates.rows(wrong, ["1.W"])
    for wrong in (3, 0.5, object):
        with pytest.raises(TypeError, match=r"^expected a list of names, got "):
            call(net(), wrong)
    for wrong in ([3], [None], [["1.W"]], np.ones((2, 2))):
        with pytest.raises(ValueError, match=r"the net has no parameter .*; it has 1\.W, 1\.b, 3\.W, 3\.b"):
            call(net(), wrong)


@pytest.mark.parametrize("wrong", [[np.ones((5, 3))], None, 3, {"1.W": [1.0, 0.0]}, {"1.W": None}, {"1.W": 1}])
def test_scores_and_masks_of_the_wrong_kind_are_one_sentence(wrong):
    each = net()
    with pytest.raises(TypeError, match=r"^expected masks as a dict of arrays by name, got "):
        masks.apply(each, wrong)
    with pytest.raises(TypeError, match=r"^expected scores as a dict of arrays by name, got "):
        masks.smallest(wrong, 0.5)
    if wrong is not None and wrong != {"1.W": None}:  # which say that there is no mask so far
        with pytest.raises(TypeError, match=r"^expected masks as a dict of arrays by name, got "):
            masks.smallest({"1.W": np.ones((5, 3))}, 0.5, dead=wrong)
    assert all(p.mask is None for p in each.parameters())


def test_the_dead_are_said_in_zeros_and_ones():
    for wrong in (0.5, np.nan, 2, -1):
        with pytest.raises(ValueError, match=r"^expected a mask of zeros and ones for a, got other numbers$"):
            masks.smallest({"a": np.ones((2, 2))}, 0.5, dead={"a": np.array([[1, 1], [0, wrong]])})


def test_fitted_masks_are_those_that_apply_sets_and_leave_the_net():
    each = net()
    each.layers[1].W.data = each.layers[1].W.data.astype(np.float32)
    before = [p.data.copy() for p in each.parameters()]
    keep = {"1.W": np.array([True, False, True, True, False]), "3.W": np.eye(4, 5, dtype=int)}
    found = masks.fitted(each, keep)
    for p, data in zip(each.parameters(), before):
        assert p.mask is None
        np.testing.assert_array_equal(p.data, data)
    masks.apply(each, keep)
    for name, mask in masks.current(each).items():
        assert found[name].dtype == mask.dtype == dict(each.named_parameters())[name].dtype
        np.testing.assert_array_equal(found[name], mask)
    np.testing.assert_array_equal(found["1.W"], np.repeat([[1], [0], [1], [1], [0]], 3, axis=1))


def test_a_mask_given_twice_is_not_shared_with_the_caller():
    each, mask = net(), np.ones((5, 3))
    masks.apply(each, {"1.W": mask})
    mask[:] = 0
    assert each.layers[1].W.mask.all()


def test_the_sizes_of_a_share_at_its_ends_and_between_two_integers():
    score = {"a": np.arange(5.0)}
    for sparsity, expected in ((0, 0), (0.09, 0), (0.1, 0), (0.11, 1), (0.3, 2), (0.5, 2), (0.7, 4), (1, 5)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            assert zeros(masks.smallest(score, sparsity)) == expected


def test_exactly_as_many_dead_as_may_be_deleted_are_left_alone():
    dead = {"a": np.array([0.0, 1.0, 0.0, 1.0])}
    np.testing.assert_array_equal(masks.smallest({"a": np.arange(4.0)}, 0.5, dead=dead)["a"], dead["a"])
    with pytest.raises(ValueError, match="2 of 4 weights are deleted already"):
        masks.smallest({"a": np.arange(4.0)}, 0.25, dead=dead)
