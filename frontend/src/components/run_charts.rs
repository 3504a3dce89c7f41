//! The curves of a run, grouped by what they tell.

use crate::chart::{Chart, Panel};
use crate::curve::Curve;
use domain::run::metric;
use leptos::prelude::*;

type Group = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const GROUPS: [Group; 11] = [
    ("Loss", "The objective's value: lower is better", &[(metric::LOSS, "loss")]),
    (
        "Implicit accuracy",
        "Share of pairs whose winner the policy prefers more than the reference does; one half is chance",
        &[
            (metric::REWARDS_ACCURACIES, "own loser"),
            (metric::REWARDS_ACCURACIES_WEIGHTED, "whole matrix, weighted"),
        ],
    ),
    ("Margin", "Implicit reward of winners minus that of losers", &[(metric::REWARDS_MARGINS, "margin")]),
    (
        "Implicit rewards",
        "How much better than the reference the policy denoises winners and losers",
        &[(metric::REWARDS_CHOSEN, "winner"), (metric::REWARDS_REJECTED, "loser")],
    ),
    (
        "Denoising error",
        "Mean squared error of the predicted noise",
        &[
            (metric::MSE_WINNER, "winner"),
            (metric::MSE_LOSER, "loser"),
            (metric::MSE_REFERENCE_WINNER, "reference, winner"),
            (metric::MSE_REFERENCE_LOSER, "reference, loser"),
        ],
    ),
    (
        "Error against the reference",
        "Policy's error minus the reference's: below zero the policy denoises better",
        &[(metric::MEAN_A, "winner"), (metric::MEAN_B, "loser")],
    ),
    (
        "Weight of a winner's own loser",
        "1 is Diffusion-DPO, 1/M a uniform mean over the batch",
        &[(metric::WEIGHT_DIAGONAL, "weight")],
    ),
    ("Weight entropy", "Mean entropy of the rows of W, in nats", &[(metric::WEIGHT_ENTROPY, "entropy")]),
    ("Gradient norm", "Before clipping", &[(metric::GRAD_NORM, "norm")]),
    ("Learning rate", "As the optimiser used it", &[(metric::LEARNING_RATE, "rate")]),
    ("Speed", "Images (two per pair) per second", &[(metric::SAMPLES_PER_SECOND, "images/s")]),
];

/// The first few answer "is it learning?"; the rest wait below.
const FIRST: usize = 4;

fn panels(curves: &[Curve]) -> (Vec<Panel>, Vec<Panel>) {
    let exists = |name: &str| curves.iter().any(|curve| curve.name == name);
    let mut first = Vec::new();
    let mut rest = Vec::new();
    for (index, (title, meaning, names)) in GROUPS.iter().enumerate() {
        let curves: Vec<(String, String)> = names
            .iter()
            .filter(|(name, _)| exists(name))
            .map(|(name, label)| ((*name).to_owned(), (*label).to_owned()))
            .collect();
        if !curves.is_empty() {
            let panel = Panel { title: (*title).to_owned(), meaning, curves };
            if index < FIRST { first.push(panel) } else { rest.push(panel) }
        }
    }
    let known = |name: &str| GROUPS.iter().any(|group| group.2.iter().any(|(known, _)| *known == name));
    for curve in curves.iter().filter(|curve| !known(&curve.name)) {
        let name = curve.name.clone();
        rest.push(Panel { title: name.clone(), meaning: "", curves: vec![(name.clone(), name)] });
    }
    (first, rest)
}

/// All charts with their smoothing slider.
#[component]
pub(crate) fn RunCharts(curves: RwSignal<Vec<Curve>>, steps: i64) -> impl IntoView {
    let smoothing = RwSignal::new(0.6);
    let cursor = RwSignal::new(None);
    // Charts are rebuilt only when a curve appears, not with every point.
    let groups = Memo::new(move |_| curves.with(|curves| panels(curves)));
    #[expect(clippy::cast_precision_loss, reason = "steps are far below 2^52")]
    let charts = move |panels: Vec<Panel>| {
        panels
            .into_iter()
            .map(|panel| view! { <Chart panel curves steps=steps as f64 smoothing cursor /> })
            .collect_view()
    };
    view! {
        <section aria-labelledby="curves">
            <header class="section-head">
                <h2 id="curves">"Curves"</h2>
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
                    <h3 class="subhead">"Under the hood"</h3>
                    <div class="charts">{charts(rest)}</div>
                })
            }}
            {move || {
                curves.with(Vec::is_empty).then(|| view! {
                    <p class="soft">"No measurement yet. Curves appear with the first reported step."</p>
                })
            }}
        </section>
    }
}
