//! What each metric means: titles, one line for people, and which metrics share a chart.

use domain::run::metric;

/// Metrics that share a chart.
pub(crate) struct Group {
    pub(crate) title: &'static str,
    /// One line below the title.
    pub(crate) meaning: &'static str,
    /// Metrics, with the label of each where there are several.
    pub(crate) metrics: &'static [(&'static str, &'static str)],
}

const fn group(
    title: &'static str,
    meaning: &'static str,
    metrics: &'static [(&'static str, &'static str)],
) -> Group {
    Group { title, meaning, metrics }
}

/// The first groups show whether the run learns. The others are listed below them.
pub(crate) const MAIN_GROUPS: usize = 6;

/// All groups, in the order of the page.
pub(crate) const GROUPS: [Group; 16] = [
    group("Loss", "Value of the training objective. Lower is better.", &[(metric::LOSS, "loss")]),
    group(
        "Implicit accuracy",
        "Share of pairs whose winner has the higher implicit reward. Higher is better; 0.5 is chance.",
        &[
            (metric::REWARDS_ACCURACIES, "own loser"),
            (metric::REWARDS_ACCURACIES_WEIGHTED, "all losers, weighted"),
        ],
    ),
    group(
        "Reward margin",
        "Implicit reward of winners minus that of losers. Higher is better.",
        &[(metric::REWARDS_MARGINS, "margin")],
    ),
    group(
        "Implicit rewards",
        "How much better than the reference the policy denoises winners and losers.",
        &[(metric::REWARDS_CHOSEN, "winner"), (metric::REWARDS_REJECTED, "loser")],
    ),
    group(
        "Validation loss",
        "Objective on held-out examples. Lower is better; rising while the loss falls is overfitting.",
        &[(metric::VALIDATION_LOSS, "loss")],
    ),
    group(
        "Validation accuracy",
        "Implicit accuracy on held-out pairs. Higher is better; 0.5 is chance.",
        &[(metric::VALIDATION_ACCURACY, "accuracy")],
    ),
    group(
        "Denoising error",
        "Mean squared error of the prediction. If both rise, the model forgets how to denoise.",
        &[
            (metric::MSE_WINNER, "winner"),
            (metric::MSE_LOSER, "loser"),
            (metric::MSE_REFERENCE_WINNER, "reference, winner"),
            (metric::MSE_REFERENCE_LOSER, "reference, loser"),
        ],
    ),
    group(
        "Error gap to the reference",
        "Policy's error minus reference's. Below zero the policy denoises better.",
        &[(metric::MEAN_A, "winner"), (metric::MEAN_B, "loser")],
    ),
    group(
        "Weight of a winner's own loser",
        "Mean diagonal of the weights W. 1 is Diffusion-DPO, 1/M a uniform mean over M losers.",
        &[(metric::WEIGHT_DIAGONAL, "weight")],
    ),
    group(
        "Weight entropy",
        "Mean entropy of the rows of W, in nats. 0: one loser per winner; ln M: all alike.",
        &[(metric::WEIGHT_ENTROPY, "entropy")],
    ),
    group(
        "Gradient norm",
        "Norm of the gradient before clipping. Spikes point to unstable steps.",
        &[(metric::GRAD_NORM, "norm")],
    ),
    group("Learning rate", "Learning rate of each update.", &[(metric::LEARNING_RATE, "rate")]),
    group(
        "Loss scale",
        "Factor of the loss before the backward pass in f16.",
        &[(metric::LOSS_SCALE, "scale")],
    ),
    group(
        "Skipped updates",
        "1 where gradients overflowed in f16 and the update was skipped.",
        &[(metric::OVERFLOWED, "skipped")],
    ),
    group(
        "Images per second",
        "Training throughput. A pair counts as two images. Higher is better.",
        &[(metric::SAMPLES_PER_SECOND, "images/s")],
    ),
    group(
        "Seconds per step",
        "Where a step's time goes. Much of it in data: the set is read too slowly.",
        &[
            (metric::SECONDS_DATA, "data"),
            (metric::SECONDS_FORWARD, "forward"),
            (metric::SECONDS_BACKWARD, "backward"),
            (metric::SECONDS_UPDATE, "update"),
            (metric::SECONDS_VALIDATION, "validation"),
            (metric::SECONDS_SAMPLES, "samples"),
            (metric::SECONDS_CHECKPOINT, "checkpoint"),
        ],
    ),
];

/// The group of a metric, with the metric's label in it.
pub(crate) fn of(name: &str) -> Option<(&'static Group, &'static str)> {
    GROUPS.iter().find_map(|group| {
        let (_, label) = group.metrics.iter().find(|(known, _)| *known == name)?;
        Some((group, *label))
    })
}

/// The name of a metric on pages.
pub(crate) fn title(name: &str) -> String {
    match of(name) {
        Some((group, _)) if group.metrics.len() == 1 => group.title.to_owned(),
        Some((group, label)) => format!("{}: {label}", group.title),
        None => name.to_owned(),
    }
}
