"""Adds the results of arena-rank (LMArena's package, 0.1.1) to the Bradley-Terry cases of `ranking.py`: ratings and sandwich errors of
the same votes. Run it after `ranking.py`, in an environment of its own: `pip install arena-rank==0.1.1` (it pins JAX and numpy).

The ridge on the information matrix is too small to affect the results, and the search runs until the gradient vanishes.
"""

import json
import pathlib

import jax.numpy
import pandas
from arena_rank.models.bradley_terry import BradleyTerry
from arena_rank.utils.data_utils import PairDataset

FILE = pathlib.Path(__file__).resolve().parent.parent / "crates" / "domain" / "tests" / "fixtures" / "statistics.json"
WINNER = {1.0: "model_a", 0.0: "model_b", 0.5: "tie"}


def arena(votes):
    rows = [{"model_a": a, "model_b": b, "winner": WINNER[y]} for a, b, y, _ in votes]
    data = PairDataset.from_pandas(pandas.DataFrame(rows))
    model = BradleyTerry(len(data.competitors), scale=1.0, base=jax.numpy.e, init_rating=0.0, hessian_reg=1e-7, ftol=0.0, gtol=1e-12)
    fitted = model.compute_ratings_and_cis(data)
    # The package sorts competitors; here they are sorted by number.
    ratings = fitted["ratings"] - fitted["ratings"].mean()
    return {"r": ratings.tolist(), "sandwich": (fitted["variances"] ** 0.5).tolist()}


def main():
    made = json.loads(FILE.read_text())
    for case in made["bradley_terry"]:
        case["arena"] = arena(case["votes"])
        for name in ("r", "sandwich"):
            print(name, max(abs(a - b) for a, b in zip(case[name], case["arena"][name])))
    FILE.write_text(json.dumps(made, allow_nan=False, separators=(",", ":")) + "\n")


main()
