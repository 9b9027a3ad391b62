"""Decisions in a row about an image: the optimum against all policies and value iteration, Q-learning against both."""

import itertools

import numpy as np
import pytest

from pruning.dynamic.decision_process import Process, QLearning, follow, optimal


def random_process(rng, bins, k, L, N):
    seen = tuple(rng.integers(bins, size=(k,) * l + (N,)) for l in range(L))
    return Process(seen, tuple(rng.normal(size=(k,) * (l + 1) + (N,)) for l in range(L)), bins)


def steps(process, n, policy):
    """Yield (state, action, reward) of image n in plain Python; a state is what was seen and done so far."""
    state, actions = (), ()
    for seen, rewards in zip(process.seen, process.rewards):
        state = (*state, int(seen[(*actions, n)]))
        actions = (*actions, policy(state))
        yield state, actions[-1], float(rewards[(*actions, n)])
        state = (*state, actions[-1])


def planned(plan):
    """The policy that carries out one plan, whatever it sees."""
    return lambda state: plan[len(state) // 2]


def reached(process):
    """Every state that some image comes to under some actions."""
    k, N = process.rewards[0].shape
    found = set()
    for plan in itertools.product(range(k), repeat=len(process.rewards)):
        for n in range(N):
            found |= {state for state, _, _ in steps(process, n, planned(plan))}
    return sorted(found)


def all_policies(process):
    """The mean reward of the best of all policies, each carried out image by image."""
    k, N = process.rewards[0].shape
    states, best = reached(process), -np.inf
    for choice in itertools.product(range(k), repeat=len(states)):
        policy = dict(zip(states, choice)).__getitem__
        best = max(best, sum(r for n in range(N) for _, _, r in steps(process, n, policy)) / N)
    return best


def value_iteration(process):
    """{state: its Q of every action} by sweeps V <- max_a R + P V over one flat list of states, until nothing moves."""
    k, N = process.rewards[0].shape
    states = reached(process)
    index = {state: s for s, state in enumerate(states)}
    R, P, met = np.zeros((len(states), k)), np.zeros((len(states), k, len(states))), np.zeros((len(states), k))
    for plan in itertools.product(range(k), repeat=len(process.rewards)):
        for n in range(N):
            path = list(steps(process, n, planned(plan)))
            for (state, a, r), after in zip(path, [*path[1:], None]):
                s = index[state]
                R[s, a], met[s, a] = R[s, a] + r, met[s, a] + 1
                if after is not None:
                    P[s, a, index[after[0]]] += 1
    R, P, V = R / met, P / met[..., None], np.zeros(len(states))
    for _ in range(len(process.rewards) + 1):
        V, before = (R + P @ V).max(axis=1), V
    np.testing.assert_array_equal(V, before)
    return dict(zip(states, R + P @ V))


@pytest.mark.parametrize("seed", range(4))
def test_the_optimum_is_the_best_of_all_policies(seed):
    process = random_process(np.random.default_rng(seed), bins=2, k=2, L=2, N=7)
    np.testing.assert_allclose(follow(process, optimal(process))[0].mean(), all_policies(process), rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_the_tables_are_those_of_value_iteration(seed):
    process = random_process(np.random.default_rng(seed), bins=2, k=3, L=3, N=9)
    tables = optimal(process)
    for state, Q in value_iteration(process).items():
        np.testing.assert_allclose(tables[len(state) // 2][state], Q, rtol=1e-12, atol=1e-14)


def test_one_plan_for_all_images_the_optimum_and_a_plan_that_knows_the_image_are_in_this_order():
    for seed in range(20):
        process = random_process(np.random.default_rng(seed), bins=3, k=3, L=2, N=40)
        totals, best = process.totals(), follow(process, optimal(process))[0].mean()
        assert totals.mean(axis=-1).max() <= best + 1e-12 and best <= totals.max(axis=(0, 1)).mean() + 1e-12


def test_with_nothing_to_see_the_best_policy_is_one_plan_and_with_all_seen_it_knows_the_image():
    process = random_process(np.random.default_rng(0), bins=1, k=3, L=3, N=20)
    np.testing.assert_allclose(follow(process, optimal(process))[0].mean(), process.totals().mean(axis=-1).max())
    known = Process((np.arange(20), *(0 * o for o in process.seen[1:])), process.rewards, 20)
    np.testing.assert_allclose(follow(known, optimal(known))[0].mean(), process.totals().max(axis=(0, 1, 2)).mean())


def test_following_adds_up_what_the_plan_brings():
    process = random_process(np.random.default_rng(1), bins=2, k=3, L=3, N=12)
    reward, actions = follow(process, optimal(process))
    np.testing.assert_allclose(reward, process.totals()[(*actions, np.arange(12))], rtol=1e-12)
    tables = optimal(process)
    for n in range(12):
        path = list(steps(process, n, lambda state: int(tables[len(state) // 2][state].argmax())))
        assert [a for _, a, _ in path] == actions[:, n].tolist()


def test_of_equal_actions_the_first_is_taken():
    process = Process((np.zeros(3, int),), (np.zeros((4, 3)),), 1)
    assert follow(process, optimal(process))[1].tolist() == [[0, 0, 0]]


def decided_by(process, lead):
    """{state: its best action} of value iteration, or None if it is nowhere ahead of the next one by the lead."""
    found = value_iteration(process)
    leads = [np.diff(np.sort(Q))[-1] for Q in found.values()]
    return {state: int(Q.argmax()) for state, Q in found.items()} if min(leads) >= lead else None


@pytest.mark.slow
def test_fifteen_learners_of_fifteen_find_the_policy_of_value_iteration():
    """Where every best action is ahead by 0.1; learners of processes with near ties differ there."""
    same, tried = 0, 0
    for seed in range(200):
        process = random_process(np.random.default_rng(seed), bins=2, k=2, L=2, N=30)
        best = decided_by(process, 0.1)
        if best is None or tried == 15:
            continue
        tried += 1
        learner = QLearning(process, 0.3, np.random.default_rng(seed))
        learner.run(20_000)
        actions = follow(process, learner.tables)[1]
        paths = [step for n in range(30) for step in steps(process, n, planned(actions[:, n].tolist()))]
        same += all(best[state] == a for state, a, _ in paths)
    assert (same, tried) == (15, 15)


def test_a_learner_that_always_explores_comes_to_the_tables_of_the_optimum():
    process = random_process(np.random.default_rng(2), bins=2, k=2, L=2, N=5)
    learner, tables = QLearning(process, 1.0, np.random.default_rng(0)), optimal(process)
    learner.run(20_000)
    for state in reached(process):
        np.testing.assert_allclose(learner.tables[len(state) // 2][state], tables[len(state) // 2][state], atol=0.06)


def test_a_table_is_the_mean_of_all_its_targets():
    """1 / n as a rate: with one decision, Q is the mean of the rewards that were drawn, and of nothing else."""
    process = Process((np.zeros(50, int),), (np.random.default_rng(3).normal(5, 1, (2, 50)),), 1)
    learner = QLearning(process, 1.0, np.random.default_rng(4))
    learner.run(400)
    rng = np.random.default_rng(4)
    rng.random((400, 1))
    actions, images = rng.integers(2, size=(400, 1))[:, 0], rng.integers(50, size=400)
    for a in range(2):
        assert learner.visits[0][0, a] == np.sum(actions == a)
        np.testing.assert_allclose(learner.tables[0][0, a], process.rewards[0][a, images[actions == a]].mean())


def test_one_episode_by_hand():
    """The first target of the first decision takes the largest Q of the state that comes next, as it was before."""
    seen = (np.array([1]), np.array([[0], [1]]))
    process = Process(seen, (np.array([[-1.0], [-2.0]]), np.array([[[1.0], [4.0]], [[2.0], [3.0]]])), 2)
    learner = QLearning(process, 0.0, np.random.default_rng(0))
    learner.tables[0][1], learner.tables[1][1, 1, 1] = [-9, 0], [0.5, 0.25]
    learner.run(1)
    assert learner.tables[0][1].tolist() == [-9, -2 + 0.5]
    assert learner.tables[1][1, 1, 1].tolist() == [2, 0.25]
    learner.run(1)  # -1.5 is above -9: the same action; its second target is -2 + 2
    assert learner.tables[0][1].tolist() == [-9, (-1.5 + 0) / 2]


def test_the_same_seed_learns_the_same_in_pieces_of_one():
    process = random_process(np.random.default_rng(5), bins=2, k=2, L=2, N=8)
    first, second = (QLearning(process, 0.3, np.random.default_rng(6)) for _ in range(2))
    first.run(500)
    second.run(500)
    assert all((a == b).all() for a, b in zip(first.tables, second.tables))
    first.run(1)
    assert sum(each.sum() for each in first.visits) == 2 * 501


def test_what_was_seen_last_is_no_state():
    """Without the action before, a row mixes images that other actions would bring: its mean depends on them."""
    seen = (np.zeros(2, int), np.array([[0, 1], [1, 0]]))
    second = np.zeros((2, 2, 2))
    second[:, 1] = [1.0, -1.0]  # the second action suits image 0 and not image 1
    process = Process(seen, (np.zeros((2, 2)), second), 2)
    np.testing.assert_allclose(follow(process, optimal(process))[0].mean(), 0.5)
    tables = optimal(process)
    assert tables[1][0, 0, 0].argmax() == 1 and tables[1][0, 1, 0].argmax() == 0  # bin 0 both times


RNG = np.random.default_rng(0)
PROCESS = random_process(np.random.default_rng(0), 2, 2, 2, 3)
REFUSED = {
    "epsilon above 1": (
        lambda: QLearning(PROCESS, 1.5, np.random.default_rng(0)),
        "share epsilon from 0 to 1, got 1.5",
    ),
    "epsilon NaN": (lambda: QLearning(PROCESS, float("nan"), RNG), "share epsilon"),
    "no episodes": (lambda: QLearning(PROCESS, 0.1, RNG).run(0), "number of episodes"),
    "a bin too many": (lambda: Process(PROCESS.seen, PROCESS.rewards, 1), "decision 0: expected bins from 0 to 0"),
    "tables of one decision": (
        lambda: Process((PROCESS.seen[0], PROCESS.seen[0]), PROCESS.rewards, 2),
        "decision 1: expected tables over 1 actions of 2",
    ),
}


@pytest.mark.parametrize("call, message", REFUSED.values(), ids=REFUSED)
def test_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
