"""Fixtures of domain::ranking: results of scipy, statsmodels, scikit-learn and krippendorff on random and degenerate data.

None (null) stands for an undefined figure, for which the reference returns NaN or fails. See README.md.
"""

import json
import math
import pathlib
import warnings

import krippendorff
import numpy
import statsmodels.api
from scipy import stats
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import fleiss_kappa
from statsmodels.stats.proportion import proportion_confint

FILE = pathlib.Path(__file__).resolve().parent.parent / "crates" / "domain" / "tests" / "fixtures" / "statistics.json"
chance = numpy.random.Generator(numpy.random.PCG64(5))


def number(value):
    return None if not math.isfinite(value) else float(value)


def correlations():
    cases = [([1, 2], [2, 1]), ([1.0], [1.0]), ([3, 3, 3], [1, 2, 3]), ([0.0, -0.0, 1.0], [1, 1, 2]), ([], [])]
    for n in [3, 5, 12, 60]:
        cases.append((chance.standard_normal(n), chance.standard_normal(n)))
        cases.append((chance.integers(0, 4, n), chance.integers(0, 6, n)))
        x = chance.standard_normal(n)
        cases.append((x, x + chance.standard_normal(n) / 3))
    result = []
    for x, y in cases:
        x, y = [float(v) for v in x], [float(v) for v in y]
        short = len(x) < 2
        result.append({"x": x, "y": y, "spearman": None if short else number(stats.spearmanr(x, y).statistic), "kendall": None if short else number(stats.kendalltau(x, y).statistic)})
    return result


def cohen():
    cases = [([0, 0, 0], [0, 0, 0]), ([0, 1], [1, 0]), ([1], [2]), ([0, 0, 0, 1], [0, 0, 0, 0])]
    for n, kinds in [(10, 2), (40, 4), (100, 3)]:
        first = chance.integers(0, kinds, n)
        cases.append((first, numpy.where(chance.random(n) < 0.6, first, chance.integers(0, kinds, n))))
    return [{"answers": [[int(a), int(b)] for a, b in zip(x, y)], "kappa": number(cohen_kappa_score(x, y))} for x, y in cases]


def fleiss():
    cases = [[[3, 0], [3, 0]], [[2, 0], [0, 2]], [[1, 1, 1], [1, 1, 1]], [[0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1], [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]]]
    cases += [chance.multinomial(5, [0.5, 0.3, 0.2], 20).tolist()]
    return [{"counts": case, "kappa": number(fleiss_kappa(numpy.array(case)))} for case in cases]


def alpha():
    cases = [[[1, 1], [1, 1]], [[1, 2], [2, 1]], [[1], [2]], [[0, 1, 1], [0], [2, 2], [1, 0]]]
    for n, raters, kinds in [(12, 3, 2), (40, 6, 4)]:
        truth = chance.integers(0, kinds, n)
        cases.append([[int(t if chance.random() < 0.7 else chance.integers(0, kinds)) for _ in range(raters) if chance.random() < 0.6] for t in truth])
    result = []
    for case in cases:
        widest = max(map(len, case))
        table = numpy.array([unit + [numpy.nan] * (widest - len(unit)) for unit in case], float).T
        try:
            value = number(krippendorff.alpha(reliability_data=table, level_of_measurement="nominal"))
        except (ValueError, AssertionError, ZeroDivisionError):
            value = None
        result.append({"units": case, "alpha": value})
    return result


def wilson():
    return [{"wins": w, "votes": n, "interval": [float(v) for v in proportion_confint(w, n, method="wilson")]} for w, n in [(0, 1), (1, 1), (0, 9), (9, 9), (8, 10), (271, 500)]]


def bootstrap():
    result = []
    for n, resamples in [(1, 5), (7, 40), (30, 200)]:
        pairs = chance.standard_normal((n, 2)) + [0.3, 0]
        draws = chance.integers(0, n, (resamples, n))
        means = (pairs[:, 0] - pairs[:, 1])[draws].mean(1)
        result.append({"pairs": pairs.tolist(), "draws": draws.flatten().tolist(), "resamples": resamples, "mean": float((pairs[:, 0] - pairs[:, 1]).mean()), "interval": numpy.quantile(means, [0.025, 0.975]).tolist()})
    return result


def bradley_terry():
    """One row per vote. The last model is the origin; then the mean is subtracted, from the covariance as well."""
    result = []
    for models, count, raters in [(2, 12, 4), (3, 40, 5), (5, 200, 12)]:
        strength = chance.standard_normal(models)
        votes = []
        while len(votes) < count:
            a, b = (int(v) for v in chance.choice(models, 2, replace=False))
            p = 1 / (1 + math.exp(strength[b] - strength[a]))
            y = 0.5 if chance.random() < 0.15 else float(chance.random() < p)
            votes.append((a, b, y, int(chance.integers(0, raters))))
        design = numpy.zeros((count, models))
        for row, (a, b, _, _) in zip(design, votes):
            row[a], row[b] = 1, -1
        y = numpy.array([v[2] for v in votes])
        model = statsmodels.api.GLM(y, design[:, :-1], family=statsmodels.api.families.Binomial())
        centre = (numpy.eye(models) - 1 / models)[:, :-1]

        def errors(fit):
            return numpy.sqrt(numpy.diag(centre @ fit.cov_params() @ centre.T)).tolist()

        plain = model.fit(tol=1e-14, scale=1.0)
        clustered = model.fit(tol=1e-14, cov_type="cluster", cov_kwds={"groups": numpy.array([v[3] for v in votes]), "use_correction": False})
        robust = model.fit(tol=1e-14, cov_type="HC0")
        result.append({"votes": votes, "r": (centre @ plain.params).tolist(), "model": errors(plain), "sandwich": errors(robust), "clustered": errors(clustered)})
    return result


def main():
    warnings.simplefilter("ignore")
    numpy.seterr(all="ignore")
    made = {f.__name__: f() for f in (correlations, cohen, fleiss, alpha, wilson, bootstrap, bradley_terry)}
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(made, allow_nan=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
