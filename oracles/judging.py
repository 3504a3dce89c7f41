"""Fixture of the crate judging: ratings by statsmodels and choix from random answers.

Ties and positions: Davidson's model as a log-linear one for counts, a Poisson regression with a constant per ordered pair.
Clusters: a logistic regression of answers without ties, with the variance of statsmodels for two groupings. Rankings and
choices of the best: choix. See README.md.
"""

import itertools
import json
import pathlib

import choix
import numpy
import statsmodels.api as sm

FILE = pathlib.Path(__file__).resolve().parent.parent / "crates" / "judging" / "tests" / "fixtures" / "judging.json"
chance = numpy.random.Generator(numpy.random.PCG64(18))
MODELS = 5


def strengths():
    r = chance.standard_normal(MODELS) * 0.7
    return r - r.mean()


def errors_to_first(covariance, columns):
    """Standard errors of the difference of each model but the first to the first, whose column is left out."""
    return numpy.sqrt(numpy.diag(covariance)[columns]).tolist()


def centred(others):
    r = numpy.concatenate([[0.0], others])
    return (r - r.mean()).tolist()


def davidson():
    r, answers = strengths(), []
    for _ in range(700):
        i, j = (int(v) for v in chance.choice(MODELS, 2, replace=False))
        d = r[i] - r[j] + 0.3
        p = numpy.exp([d / 2, -d / 2, -0.5])
        answers.append((i, j, int(chance.choice(3, p=p / p.sum()))))
    pairs = list(itertools.permutations(range(MODELS), 2))
    rows, counts = [], []
    for number, (i, j) in enumerate(pairs):
        for outcome, half in enumerate([0.5, -0.5, 0.0]):
            row = numpy.zeros(MODELS + 2 + len(pairs))
            row[i], row[j], row[MODELS], row[MODELS + 1] = half, -half, half, outcome == 2
            row[MODELS + 2 + number] = 1
            rows.append(row[1:])
            counts.append(answers.count((i, j, outcome)))
    fit = sm.GLM(counts, numpy.array(rows), family=sm.families.Poisson()).fit(tol=1e-14)
    return {"answers": answers, "r": centred(fit.params[: MODELS - 1]), "position": fit.params[MODELS - 1], "tie": fit.params[MODELS], "errors": errors_to_first(fit.cov_params(), slice(0, MODELS + 1))}


def clustered():
    r, answers = strengths(), []
    tastes, prompts = chance.standard_normal((12, MODELS)) / 2, chance.standard_normal((15, MODELS)) / 2
    for _ in range(500):
        i, j = (int(v) for v in chance.choice(MODELS, 2, replace=False))
        rater, prompt = int(chance.integers(12)), int(chance.integers(15))
        u = r + tastes[rater] + prompts[prompt]
        answers.append((rater, prompt, i, j, int(chance.random() > 1 / (1 + numpy.exp(u[j] - u[i])))))
    design = numpy.zeros((len(answers), MODELS + 1))
    for row, (_, _, i, j, _) in zip(design, answers):
        row[i], row[j], row[MODELS] = 1, -1, 1
    model = sm.GLM([1 - answer[4] for answer in answers], design[:, 1:], family=sm.families.Binomial())
    groups = {"rater": [[a[0]] for a in answers], "prompt": [[a[1]] for a in answers], "both": [[a[0], a[1]] for a in answers]}
    plain = model.fit(tol=1e-14)
    result = {"answers": answers, "r": centred(plain.params[: MODELS - 1]), "model": errors_to_first(plain.cov_params(), slice(0, MODELS - 1))}
    for name, group in groups.items():
        group = numpy.array(group).squeeze()
        fit = model.fit(tol=1e-14, cov_type="cluster", cov_kwds={"groups": group, "use_correction": False})
        result[name] = errors_to_first(fit.cov_params(), slice(0, MODELS - 1))
    return result


def luce():
    r, rankings, choices = strengths(), [], []
    for _ in range(120):
        shown = [int(v) for v in chance.choice(MODELS, 4, replace=False)]
        u = r[shown] + chance.gumbel(size=4)
        rankings.append([shown[place] for place in numpy.argsort(-u)])
        shown = [int(v) for v in chance.choice(MODELS, 4, replace=False)]
        choices.append([shown[int(numpy.argmax(r[shown] + chance.gumbel(size=4)))], [s for s in shown]])
    top = [(best, [s for s in shown if s != best]) for best, shown in choices]
    return {"rankings": rankings, "of_rankings": choix.opt_rankings(MODELS, rankings, tol=1e-12).tolist(), "choices": choices, "of_choices": choix.opt_top1(MODELS, top, tol=1e-12).tolist()}


def main():
    made = {f.__name__: f() for f in (davidson, clustered, luce)}
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(made, allow_nan=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
