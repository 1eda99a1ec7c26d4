# %% [markdown]
# # 4. Predict without simulating
#
# **Question.** What will a given clip do to entropy over a whole run, before anything is run? Which eps_low keeps entropy
# still beside the eps_high that I use?
#
# **Answer.** For random rewards `predict` forecasts the run from its configuration alone, in seconds and without drawing a
# sample; simulations land where it says. `neutral_clip` turns the forecast round and solves for the width at which the drift
# is zero.
#
# Runs in about 30 s. To run it: `pip install '.[notebooks]'`, then `jupyter lab notebooks/04_predict.ipynb`; to read it, just
# read on.

# %%
# %matplotlib inline
import pandas as pd

from entclip import load, neutral_clip, predict, report, run
from entclip.prediction.maps.figure import map_figure
from entclip.prediction.maps.phase_map import phase_map, plane
from entclip.prediction.maps.verify import spread, verify

# %% [markdown]
# ## A forecast, and a simulation that it has not seen
#
# The headline from Zipf's law: 64 actions, natural steps, two rollouts of 64 updates, coin-flip rewards, six clip settings.
# The forecast carries the distribution of log π/π_old through every update ([T11](../docs/theory.md#t11)); it knows the
# configuration and nothing else. Mind the difference: in a *run* the `expected_` columns are theory along the path that the
# run took; only `predict` forecasts.

# %%
experiment = load("headline_zipf", ["update.rollouts=2", "policy.contexts=96"])
forecast = predict(experiment).summary()["arms"]
measured = run(experiment).summary()["arms"]

# %% [markdown]
# The forecast is not exact. Its stated error, from comparisons with many simulations, is the largest of 5 % of the summed
# sizes of its parts, .001 nat, and (this one is the simulation's) 3 standard errors.

# %%
parts = ("clip_low", "clip_high", "curvature")
compared = pd.DataFrame(
    {
        name: {
            "forecast (nats)": forecast[name]["expected_measured"],
            "simulated (control variate)": arm["measured_cv"],
            "s.e.": arm["measured_cv_se"],
            "allowed error": max(
                0.05 * sum(abs(forecast[name][f"expected_{p}"]) for p in parts), 0.001, 3 * arm["measured_cv_se"]
            ),
            "clip fraction low, forecast": forecast[name]["clip_fraction_low"],
            "clip fraction low": arm["clip_fraction_low"],
        }
        for name, arm in measured.items()
    }
).T
compared.round(5)

# %% [markdown]
# ## The entropy-neutral clip
#
# For a given eps_high: the eps_low at which the forecast drift per rollout is zero (headline's policies, first rollout).
# `slope` says how fast the drift changes with eps_low, `by_rate` how the neutral eps_low moves with the logarithm of the
# learning rate.

# %%
headline = load("headline", ["update.rollouts=1"])
points = neutral_clip(headline, highs=(0.2, 0.28))
pd.DataFrame(points).set_index("high")[["low", "slope", "by_rate", "usual", "drift_usual"]].round(4)

# %% [markdown]
# The usual .2/.2 loses entropy; about .14/.2 keeps it. **Read both ways:** *lowering* eps_low to .14 means *more* clipping at
# the low bound, which raises entropy; *raising* eps_high to .28 means *less* clipping at the high bound, which raises it too,
# so that a wider eps_low is then neutral. Some settings have no neutral width; then `low` is None. Does a simulation stay
# still there?

# %%
arms = ",".join(
    f"{{name='usual_{p.high:g}',low={p.usual},high={p.high}}},{{name='neutral_{p.high:g}',low={p.low},high={p.high}}}"
    for p in points
)
still = run(load("headline", ["update.rollouts=1", "policy.contexts=192", f"arm=[{arms}]"])).summary()
report.table(still)[["measured", "control variate", "clip low", "clip high", "curvature"]]

# %% [markdown]
# ## A map: where the signs flip
#
# Forecasts are cheap enough to tile a plane: how concentrated the policy is (Zipf exponent) against the step size. Brown:
# entropy falls; blue: it rises. Six cells are simulated to check (dots).

# %%
chosen = plane("concentration", "natural", 9)
cells = phase_map(chosen.experiment, chosen.x, chosen.y)
cells = verify(cells, spread(cells, 6))
map_figure(cells)

# %% [markdown]
# Left of the dashed line, near the uniform policy, gap_high is negative and clip-high raises entropy. Right of the
# dash-dotted line the clips are larger than noise; on the solid one the total is zero. All planes, for plain policy-gradient
# steps as well: [docs/maps.md](../docs/maps.md), or `entclip map`.
#
# ## Find the neutral width by hand
#
# The static answer is the table above. Where the notebook runs, move eps_low until the total is zero:

# %%
try:
    from ipywidgets import FloatSlider, interact
except ImportError:
    print("The sliders need ipywidgets: pip install '.[notebooks]'")
else:
    interact(
        lambda eps_low, eps_high: report.causes_figure(
            predict(load("headline", ["update.rollouts=1", f"arm=[{{name='yours',low={eps_low},high={eps_high}}}]"])).summary()
        ),
        eps_low=FloatSlider(0.2, min=0.05, max=0.5, step=0.01, continuous_update=False),
        eps_high=FloatSlider(0.2, min=0.05, max=0.5, step=0.01, continuous_update=False),
    )

# %% [markdown]
# ## Where this stops
#
# - Random rewards only. A real reward moves entropy by itself, and no forecast of it is attempted.
# - Tables of probabilities. For a network, give the noise as measured: `entclip noise` and `entclip predict --noise`
#   ([docs/maps.md](../docs/maps.md)).
# - Where the conditions of the forecast are not met it says so (hatched cells) or refuses to give a number (crossed grey).
# - With plain policy-gradient steps the stated error is 10 %, not 5.
#
# ## The conclusion, checked
#
# Every arm's forecast is within its stated error of the simulation. At the neutral widths the simulated drift is zero within
# the same kind of error, while the usual widths lose entropy by more than 5 standard errors. No simulated cell of the map
# contradicts it.

# %%
assert (abs(compared["forecast (nats)"] - compared["simulated (control variate)"]) < compared["allowed error"]).all()
for name, arm in still["arms"].items():
    allowed = max(0.05 * sum(abs(arm[p]) for p in parts), 0.001, 3 * arm["measured_se"])
    print(f"{name}: drift {report.with_error(arm['measured'], arm['measured_se'])} nats per rollout")
    if name.startswith("neutral"):
        assert abs(arm["measured"]) < allowed
    else:
        assert -arm["measured"] > 5 * arm["measured_se"]
assert set(cells["verdict"]) == {"", "agree"}
