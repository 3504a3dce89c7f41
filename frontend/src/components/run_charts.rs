//! The charts of a run, grouped by topic.

use crate::chart::{Chart, Panel};
use crate::curve::Curve;
use domain::run::metric;
use leptos::prelude::*;

/// Title, description, and the metrics with their legend labels.
type Group = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const GROUPS: [Group; 15] = [
    ("Loss", "Value of the training objective. Lower is better.", &[(metric::LOSS, "loss")]),
    (
        "Implicit accuracy",
        "Share of pairs where the policy prefers the winner more than the reference does. 50% is chance.",
        &[
            (metric::REWARDS_ACCURACIES, "own loser"),
            (metric::REWARDS_ACCURACIES_WEIGHTED, "all losers, weighted"),
        ],
    ),
    (
        "Reward margin",
        "Implicit reward of winners minus implicit reward of losers.",
        &[(metric::REWARDS_MARGINS, "margin")],
    ),
    (
        "Implicit rewards",
        "How much better than the reference the policy denoises winners and losers.",
        &[(metric::REWARDS_CHOSEN, "winner"), (metric::REWARDS_REJECTED, "loser")],
    ),
    ("Validation loss", "Value of the objective on held-out examples.", &[(metric::VALIDATION_LOSS, "loss")]),
    (
        "Validation accuracy",
        "Implicit accuracy on held-out pairs.",
        &[(metric::VALIDATION_ACCURACY, "accuracy")],
    ),
    (
        "Denoising error",
        "Mean squared error of the network's prediction.",
        &[
            (metric::MSE_WINNER, "winner"),
            (metric::MSE_LOSER, "loser"),
            (metric::MSE_REFERENCE_WINNER, "reference, winner"),
            (metric::MSE_REFERENCE_LOSER, "reference, loser"),
        ],
    ),
    (
        "Error gap to the reference",
        "Error of the policy minus error of the reference. Below zero the policy denoises better.",
        &[(metric::MEAN_A, "winner"), (metric::MEAN_B, "loser")],
    ),
    (
        "Weight of a winner's own loser",
        "Mean diagonal of the weights W. 1 is Diffusion-DPO, 1/M a uniform mean over a batch of M pairs.",
        &[(metric::WEIGHT_DIAGONAL, "weight")],
    ),
    ("Weight entropy", "Mean entropy of the rows of W, in nats.", &[(metric::WEIGHT_ENTROPY, "entropy")]),
    ("Gradient norm", "Before clipping.", &[(metric::GRAD_NORM, "norm")]),
    ("Learning rate", "As used by the optimiser.", &[(metric::LEARNING_RATE, "rate")]),
    ("Loss scale", "Factor of the loss before the backward pass in f16.", &[(metric::LOSS_SCALE, "scale")]),
    (
        "Skipped updates",
        "1 where gradients overflowed in f16 and the update was skipped.",
        &[(metric::OVERFLOWED, "skipped")],
    ),
    (
        "Images per second",
        "Training throughput. A pair counts as two images.",
        &[(metric::SAMPLES_PER_SECOND, "images/s")],
    ),
];

/// The first groups show whether the run learns. The others are listed below them.
const MAIN_GROUPS: usize = 4;

/// The panels of the metrics that have a curve: those of the main groups, then all others. Metrics without a group get a
/// panel of their own.
fn panels(curves: &[Curve]) -> (Vec<Panel>, Vec<Panel>) {
    let exists = |name: &str| curves.iter().any(|curve| curve.name == name);
    let mut main = Vec::new();
    let mut rest = Vec::new();
    for (index, (title, description, metrics)) in GROUPS.iter().enumerate() {
        let curves: Vec<(String, String)> = metrics
            .iter()
            .filter(|(name, _)| exists(name))
            .map(|(name, label)| ((*name).to_owned(), (*label).to_owned()))
            .collect();
        if !curves.is_empty() {
            let panel = Panel { title: (*title).to_owned(), description, curves };
            if index < MAIN_GROUPS { main.push(panel) } else { rest.push(panel) }
        }
    }
    let known = |name: &str| GROUPS.iter().any(|group| group.2.iter().any(|(known, _)| *known == name));
    for curve in curves.iter().filter(|curve| !known(&curve.name)) {
        let name = curve.name.clone();
        rest.push(Panel { title: name.clone(), description: "", curves: vec![(name.clone(), name)] });
    }
    (main, rest)
}

/// All charts with one slider for their smoothing.
#[component]
pub(crate) fn RunCharts(curves: RwSignal<Vec<Curve>>, steps: i64) -> impl IntoView {
    let smoothing = RwSignal::new(0.6);
    let cursor = RwSignal::new(None);
    // A memo, so that charts are rebuilt when a curve appears and not with every point.
    let groups = Memo::new(move |_| curves.with(|curves| panels(curves)));
    #[expect(clippy::cast_precision_loss, reason = "steps are far below 2^52")]
    let charts = move |panels: Vec<Panel>| {
        panels
            .into_iter()
            .map(|panel| view! { <Chart panel curves steps=steps as f64 smoothing cursor /> })
            .collect_view()
    };
    view! {
        <section aria-labelledby="metrics">
            <header class="section-head">
                <h2 id="metrics">"Metrics"</h2>
                <label class="slider">
                    "Smoothing"
                    <input
                        type="range" min="0" max="0.98" step="0.02" value="0.6"
                        on:input=move |event| {
                            if let Ok(weight) = event_target_value(&event).parse() {
                                smoothing.set(weight);
                            }
                        }
                    />
                    <output>{move || format!("{:.2}", smoothing.get())}</output>
                </label>
            </header>
            <div class="charts">{move || charts(groups.get().0)}</div>
            {move || {
                let rest = groups.get().1;
                (!rest.is_empty()).then(|| view! {
                    <h3 class="subhead">"More metrics"</h3>
                    <div class="charts">{charts(rest)}</div>
                })
            }}
            {move || {
                curves.with(Vec::is_empty).then(|| view! {
                    <p class="soft">"No metrics yet. Charts appear with the first reported step."</p>
                })
            }}
        </section>
    }
}
