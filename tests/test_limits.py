"""The numbers that the pages of nets and of limits state are those of the records."""

import itertools
import json
import re
import statistics
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIMITS, NETS = ((ROOT / "book" / f"{name}.md").read_text(encoding="utf-8") for name in ("limits", "nets"))


def records(name):
    lines = (ROOT / "notebooks/results" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def span(values):
    """Return lowest and highest as in the table, one number if they look the same: "39.2 to 40.5 x"."""
    lowest, highest = (f"{v:.1f}" for v in (min(values), max(values)))
    return f"{lowest} x" if lowest == highest else f"{lowest} to {highest} x"


def rows_of_lenet5():
    """Return the rows of the table in order: rate of the convolutions, of the whole net, test accuracies by seed."""
    runs = defaultdict(dict)
    for record in records("filters"):
        for row in record["rows"] if record["spec"]["dense"]["model"] == "lenet5" else ():
            rates = [record["dense"][cost] / row[cost] for cost in ("conv_macs", "macs")]
            runs[row["method"]][record["spec"]["seed"]] = *rates, row["test_accuracy"][-1]
    for record in records("structured_sparsity"):
        if record["spec"]["dense"]["model"] == "lenet5":
            dense, small = record["dense"], record["retrained"]
            rates = [dense[cost] / small[cost] for cost in ("conv_weights", "weights")]
            runs[record["spec"]["structure"]][record["spec"]["seed"]] = *rates, small["test_accuracy"]
    chosen = [runs[name] for name in ("l1", "random", "channels", "columns")]
    runs = defaultdict(dict)
    for record in records("admm_lenet5") + records("lenet_record"):
        spec, small = record["spec"], record["small"]
        result = small["conv_rate"], small["whole_rate"], small["test_accuracy"]
        runs[bool(spec["teacher"]), spec["row"], spec["method"]][spec["seed"]] = result
    methods = {
        (False, "whole 6050"): ("gradual fisher", "gradual magnitude", "admm", "fisher at once", "magnitude at once"),
        (True, "whole 2150"): ("gradual fisher",),
        (True, "whole 1537"): ("gradual fisher",),
        (True, "whole 2750"): ("groups", "at once"),
    }
    both, purified = ("admm", "at once"), ("admm and purification", "admm", "in steps", "at once")
    convolutions = {(choice, "dense"): ("more epochs",) for choice in (False, True)}
    convolutions |= {(False, f"conv {n}"): both for n in (1100, 740, 560)}
    convolutions |= {(False, f"conv {n}"): purified for n in (650, 290, 110)}
    convolutions[False, "conv 290"] = ("admm and purification", *both)
    methods = convolutions | {(True, f"conv {n}"): both for n in (290, 110, 36)} | methods
    assert {(*row, method) for row, names in methods.items() for method in names} == runs.keys()
    chosen += [runs[(*row, method)] for row, names in methods.items() for method in names]
    for by_seed in chosen:
        assert sorted(by_seed) == [0, 1, 2]
        conv, whole, accuracies = zip(*(by_seed[seed] for seed in (0, 1, 2)))
        yield span(conv), span(whole), ", ".join(f"{100 * accuracy:.2f}" for accuracy in accuracies)


def paired(row, taught, method, control):
    """Return "mean ± standard error" of the difference in points, over the seeds."""
    accuracy = {
        (spec["row"], bool(spec["teacher"]), spec["method"], spec["seed"]): record["small"]["test_accuracy"]
        for record in records("admm_lenet5") + records("lenet_record")
        for spec in [record["spec"]]
    }
    gains = [100 * (accuracy[row, taught, method, k] - accuracy[row, taught, control, k]) for k in (0, 1, 2)]
    return f"{statistics.mean(gains):.2f} ± {statistics.stdev(gains) / 3**0.5:.2f}"


def test_the_differences_it_states_are_those_of_the_records():
    (limits,) = re.findall(r"- ADMM on the filters and columns.*?(?=\n- )", LIMITS, re.DOTALL)
    stated = re.findall(r"-?\d\.\d\d ± \d\.\d\d", limits)
    rows = [("conv 650", False), ("conv 110", False), ("conv 290", True), ("conv 110", True), ("conv 36", True)]
    rows += [("conv 560", False)]
    expected = [paired(*row, "admm", "at once") for row in rows]
    others = [paired(f"conv {n}", False, "admm", "at once").split(" ± ") for n in (1100, 740, 290)]
    assert not any(abs(float(mean)) > 2 * float(error) for mean, error in others)
    expected += [paired("whole 6050", False, f"gradual {score}", "admm") for score in ("magnitude", "fisher")]
    assert stated == expected


def less(ours, control, digits):
    """Return "mean ± standard error" of differences of accuracies, in points."""
    gains = [100 * (a - b) for a, b in zip(ours, control, strict=True)]
    return f"{statistics.mean(gains):.{digits}f} ± {statistics.stdev(gains) / len(gains) ** 0.5:.{digits}f}"


def test_what_is_said_of_nets_for_cifar_10_and_of_their_blocks_is_that_of_the_records():
    (said,) = re.findall(r"- Nets for CIFAR-10.*?(?=\n- )", LIMITS, re.DOTALL)
    expected = []
    for model in ("vgg11-thin", "resnet20"):
        found = [record["rows"] for record in records("filters") if record["spec"]["dense"]["model"] == model]
        rows = [{row["method"]: row["test_accuracy"][-1] for row in each} for each in found]
        for method in ("l1", "random"):
            expected.append(less([each[method] for each in rows], [each["dense"] for each in rows], 1))
    assert len(rows) == 3 and re.findall(r"-?\d\.\d ± \d\.\d", said) == expected
    blocks = small_nets_by_structure("resnet20")
    lost = [
        100 * (statistics.mean(blocks["dense"]) - statistics.mean(blocks[name]))
        for name in ("blocks", "weighted blocks")
    ]
    assert "cost {:.1f} points against the dense net trained as long, {:.1f} if strengths".format(*lost) in said


def test_what_is_said_of_the_perceptron_is_that_of_the_records():
    (said,) = re.findall(r"- A perceptron 784-500-300-10.*?(?=\n- )", LIMITS, re.DOTALL)
    found = small_nets_by_structure("mlp500")
    assert f"has {less(found['dense'], found['neurons'], 2)} points more errors" in said
    one_by_one = [100 * (a - b) for a, b in zip(found["dense"], found["neurons"])]
    assert "three seeds: {:.2f}, {:.2f}, {:.2f};".format(*one_by_one) in said


def small_nets_by_structure(model):
    """Return the test accuracies of structured sparsity learning, seeds 0 to 2, by structure."""
    found = defaultdict(dict)
    for record in records("structured_sparsity"):
        if record["spec"]["dense"]["model"] == model:
            found[record["spec"]["structure"]][record["spec"]["seed"]] = record["retrained"]["test_accuracy"]
    return {name: [by_seed[seed] for seed in (0, 1, 2)] for name, by_seed in found.items()}


def test_what_is_said_of_channels_by_reconstruction_is_that_of_the_records():
    (said,) = re.findall(r"- Channels chosen for what the next layer.*?(?=\n- )", LIMITS, re.DOTALL)
    found = [record for record in records("reconstruction") if record["spec"]["dense"]["data"] == "cifar10"]
    assert len(found) == 3

    def mean(method, stage):
        rows = [row for record in found for row in record["rows"]]
        rows = [row for row in rows if row["target"] == 0.5 and row["method"] == method]
        return statistics.mean(100 * row[stage]["test_accuracy"] for row in rows)

    informed = [name for name in found[0]["spec"]["methods"] if name != "random"]
    dense = [record["dense"] for record in found]
    expected = [statistics.mean(100 * row["test_accuracy"] for row in dense)]
    expected += [statistics.mean(100 * row["retrained"]["test_accuracy"] for row in dense)]
    for stage in ("cut", "refit", "retrained"):
        expected += [f([mean(name, stage) for name in informed]) for f in (min, max)]
    expected += [mean("random", stage) for stage in ("cut", "refit", "retrained")] + [mean("scratch", "retrained")]
    assert re.findall(r"\d\d\.\d", said) == [f"{value:.1f}" for value in expected]


def test_the_paired_differences_of_channels_by_reconstruction_are_those_of_the_records():
    (said,) = re.findall(r"- Channels chosen for what the next layer.*?(?=\n- )", LIMITS, re.DOTALL)
    found = [record for record in records("reconstruction") if record["spec"]["dense"]["data"] == "cifar10"]

    def above(one, other):
        rows = [{row["method"]: row for row in record["rows"] if row["target"] == 0.5} for record in found]
        gains = [100 * (r[one]["retrained"]["test_accuracy"] - r[other]["retrained"]["test_accuracy"]) for r in rows]
        return statistics.mean(gains), statistics.stdev(gains) / 3**0.5

    (mean, error) = above("elimination", "NISP")
    assert re.findall(r"\d\.\d\d ± \d\.\d\d", said) == [f"{mean:.2f} ± {error:.2f}"]
    pairs = itertools.combinations([name for name in found[0]["spec"]["methods"] if name != "random"], 2)
    resolved = [pair for pair in pairs if abs(above(*pair)[0]) > 2 * above(*pair)[1]]
    assert [set(pair) for pair in resolved] == [{"elimination", "NISP"}]


def test_what_is_said_of_widths_that_training_finds_is_that_of_the_records():
    (said,) = re.findall(r"- Widths that training finds.*?(?=\n- )", LIMITS, re.DOTALL)
    assert re.findall(r"-?\d+\.\d\d ± \d\.\d\d|\d\d\.\d", said) == list(widths_that_training_finds())


def widths_that_training_finds():
    """The numbers of the paragraph: accuracies in points, and differences paired by seed with their standard errors."""

    def rows(experiment, data, method, stage="retrained", target=None):
        return {
            record["spec"]["seed"]: 100 * row[stage]["test_accuracy"]
            for record in records(experiment)
            for row in record["rows"]
            if record["spec"]["dense"]["data"] == data
            and row["method"] == method
            and row.get("target", target) == target
        }

    def paired(a, b):
        differences = [a[seed] - b[seed] for seed in sorted(a, key=int)]
        assert a.keys() == b.keys() and len(a) >= 3
        return f"{round(statistics.mean(differences), 2) + 0:.2f} ± {statistics.stdev(differences) / len(a) ** 0.5:.2f}"

    vgg = {
        name: rows("slimming", "cifar10", name, target=0.5)
        for name in ("slimming, proximal", "slimming, uniform", "L1", "random", "scratch")
    }
    for values in vgg.values():
        yield f"{statistics.mean(values.values()):.1f}"
    for other in ("slimming, uniform", "L1", "random", "scratch"):
        yield paired(vgg["slimming, proximal"], vgg[other])
    for data in ("cifar10-16", "digits"):
        blocks = {name: rows("scaling_factors", data, name) for name in ("SSS", "smallest", "chance", "scratch")}
        for other in ("smallest", "chance", "scratch"):
            yield paired(blocks["SSS"], blocks[other])
    soft = rows("soft_filters", "cifar10", "soft", target=0.5)
    yield f"{statistics.mean(soft.values()):.1f}"
    yield paired(soft, rows("reconstruction", "cifar10", "L1", "cut, retrained", target=0.5))


def test_what_is_said_of_weights_behind_noise_is_that_of_the_records():
    (said,) = re.findall(r"- Weights behind noise.*?(?=\n- )", LIMITS, re.DOTALL)
    assert re.findall(r"-?\d+\.\d+ ± \d\.\d+|\d+\.\d+", said) == list(weights_behind_noise())


def weights_behind_noise():
    """The numbers of the paragraph: rates, accuracies in points, and differences paired by seed."""

    def paired(a, b, digits=2, unit=100):
        differences = [unit * (x - y) for x, y in zip(a, b, strict=True)]
        assert len(differences) >= 3
        error = statistics.stdev(differences) / len(differences) ** 0.5
        return f"{round(statistics.mean(differences), digits) + 0:.{digits}f} ± {error:.{digits}f}"

    def of(experiment, model):
        found = [r for r in records(experiment) if (r["spec"]["data"], r["spec"]["model"]) == ("mnist", model)]
        assert [r["spec"]["seed"] for r in found] == [0, 1, 2]
        return found

    for model in ("lenet300", "lenet5"):
        found = of("variational_dropout", model)
        rows = {row["method"]: [r["rows"][k] for r in found] for k, row in enumerate(found[0]["rows"])}
        accuracy = {name: [row["test_accuracy"] for row in each] for name, each in rows.items()}
        first = "variational, fitted"
        yield f"{found[0]['total'] / statistics.mean(row['weights'] for row in rows[first]):.1f}"
        yield f"{100 * statistics.mean(accuracy[first]):.2f}"
        for other in ("gradual magnitude", "small dense"):
            yield paired(accuracy[first], accuracy[other])
    for model in ("lenet300", "lenet5"):
        found = of("l0", model)
        ours = [r["l0"]["test_accuracy"] for r in found]
        yield f"{statistics.mean(r['dense']['weights'] / r['l0']['weights'] for r in found):.1f}"
        yield f"{100 * statistics.mean(ours):.2f}"
        for k, name in enumerate(("gradual", "scratch")):
            assert all(r["rows"][k]["method"] == name for r in found)
            yield paired(ours, [r["rows"][k]["test_accuracy"] for r in found])
    text = {row["method"]: [r["rows"][k]["retrained"] for r in records("factorised_l0")]
            for k, row in enumerate(records("factorised_l0")[0]["rows"])}  # fmt: skip
    for name in ("FLOP", "fixed rank"):
        yield f"{statistics.mean(text[name]):.3f}"
    yield paired(text["FLOP"], text["fixed rank"], 3, 1)


def test_what_is_said_of_small_nets_is_that_of_the_records():
    (said,) = re.findall(r"- Small nets that were searched.*?(?=\n- )", LIMITS, re.DOTALL)
    assert re.findall(r"-?\d+\.\d+ ± \d\.\d+", said) == list(small_nets())


def small_nets():
    """The differences of the paragraph, in points and paired by seed."""

    def paired(a, b):
        differences = [100 * (x - y) for x, y in zip(a, b, strict=True)]
        error = statistics.stdev(differences) / len(differences) ** 0.5
        return f"{round(statistics.mean(differences), 2) + 0:.2f} ± {error:.2f}"

    def of(experiment, seeds, name, key="test_accuracy", **wanted):
        found = records(experiment)
        assert [r["spec"]["seed"] for r in found] == list(range(seeds))
        kind = "kind" if experiment == "transformable" else "method"
        rows = [[row for row in r["rows"] if row[kind] == name and wanted.items() <= row.items()] for r in found]
        return [row if key is None else row[key] for (row,) in rows]

    for budget in (0.4, 0.2):
        yield paired(*(of("from_scratch", 5, name, budget=budget) for name in ("gates", "uniform")))
    for how in ("plain", "distilled"):
        one, other = (of("transformable", 5, name, how) for name in ("search", "uniform"))
        yield paired([each["test_accuracy"] for each in one], [each["test_accuracy"] for each in other])
    names = ("standard", "adversarial training", "ANP", "ANP's widths from scratch")
    standard, robust, anp, scratch = (
        [each["test_accuracy"] for each in of("adversarial", 3, name, "attacked")] for name in names
    )
    yield from (paired(robust, standard), paired(anp, robust), paired(anp, scratch))
    own = of("self_adaptive", 5, "self-adaptive")
    yield paired(own, of("self_adaptive", 5, "small"))
    yield paired(own, of("self_adaptive", 5, "self-adaptive", "other"))


def test_what_is_said_of_the_lenet_of_1990_is_that_of_the_records():
    (said,) = re.findall(r"- LeNet of 1990 on USPS.*?(?=\n- |\n\n|\Z)", LIMITS, re.DOTALL)
    found = [record for record in records("obd_lenet1990") if record["spec"]["data"] == "usps"]
    assert len(found) == 5
    rounds = [
        {(row["method"], k): row for name in ("obd", "magnitude", "control")
         for k, row in enumerate(r for r in record["loop"] if r["method"] == name)}
        for record in found
    ]  # fmt: skip
    pruned, magnitude, dense = (
        [100 * each[name, 2]["retrained"]["test_accuracy"] for each in rounds]
        for name in ("obd", "magnitude", "control")
    )
    before = [100 * record["trained"]["test_accuracy"] for record in found]
    (left,) = {each["obd", 2]["parameters_left"] for each in rounds}
    assert f"{statistics.mean(before):.1f} %\n  before pruning" in said
    assert (
        f"{statistics.mean(pruned):.1f} % with {1 - left / 2578:.0%} of".replace("%", " %").replace("  ", " ") in said
    )
    assert f"magnitude gets {statistics.mean(magnitude):.1f} %" in said
    for other in (dense, before):
        differences = [a - b for a, b in zip(pruned, other)]
        text = f"{statistics.mean(differences):.2f} ± {statistics.stdev(differences) / 5**0.5:.2f}"
        assert text in said, text


def test_the_table_of_lenet5_is_that_of_the_records():
    rows = [line for line in NETS.splitlines() if re.match(r"\|.*\| (labels|teacher) \|", line)]
    printed = [tuple(cell.strip().removesuffix(" (MACs)") for cell in row.split("|")[3:6]) for row in rows]
    assert printed == list(rows_of_lenet5())


def test_what_is_said_of_the_rows_of_admm_against_their_dense_nets_is_that_of_the_records():
    starts = [r["spec"]["dense"] for r in records("admm_lenet5")]
    dense = {r["spec"]["dense"]["seed"]: 100 * r["dense"]["test_accuracy"] for r in records("filters")
             if r["spec"]["dense"] in starts}  # fmt: skip
    assert "{:.2f}, {:.2f} and {:.2f} %: by drop".format(*(dense[seed] for seed in (0, 1, 2))) in NETS
    for weights, text in ((650, "650 weights from the labels lose {:.2f} points"), (110, "110 weights {:.2f} (P-RM")):
        rows = [
            r for r in records("admm_lenet5") if r["spec"]["row"] == f"conv {weights}" and r["spec"]["method"] == "admm"
        ]
        drops = [dense[r["spec"]["seed"]] - 100 * r["small"]["test_accuracy"] for r in rows]
        assert len(drops) == 3 and text.format(sum(drops) / 3) in NETS


def test_what_is_said_of_purification_is_that_of_the_records():
    runs = [r for r in records("admm_lenet5") if r["spec"]["method"] == "admm and purification"]
    drops = [
        statistics.mean(
            100 * (r["start"]["test_accuracy"] - r["small"]["test_accuracy"]) for r in runs if r["spec"]["row"] == row
        )
        for row in ("conv 650", "conv 290", "conv 110")
    ]
    text = " ".join(NETS.split())
    assert "{:.2f}, {:.2f} and {:.2f} points below the dense nets".format(*drops) in text
    rows = (paired(f"conv {n}", False, "admm and purification", "admm") for n in (650, 290, 110))
    assert "unresolved ({}, {} and {};".format(*rows) in text
