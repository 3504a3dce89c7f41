//! W of one batch as a heat map. `crates/training/tests/recipes/front_page.rs` computes it with the objective's own code.

use crate::components::note::Empty;
use leptos::prelude::*;
use serde::Deserialize;

/// The batch: captions, images as data URLs, and W.
#[derive(Deserialize)]
struct Batch {
    tau: f64,
    captions: Vec<String>,
    winners: Vec<String>,
    losers: Vec<String>,
    weights: Vec<Vec<f64>>,
}

const BATCH: &str = include_str!("batch_weights.json");

/// Sizes in the units of the drawing.
const CELL: f64 = 52.0;
const GAP: f64 = 4.0;
const IMAGE: f64 = 48.0;
const LEFT: f64 = 62.0;
const TOP: f64 = 62.0;

/// The heat map with the images of the batch, and what to see in it.
#[component]
pub(crate) fn WeightsFigure() -> impl IntoView {
    match serde_json::from_str::<Batch>(BATCH) {
        Ok(batch) => figure(&batch).into_any(),
        // The file is part of the program and a test reads it.
        Err(_) => view! { <Empty title="The example cannot be read"><p></p></Empty> }.into_any(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a handful")]
fn place(index: usize, from: f64) -> f64 {
    from + index as f64 * CELL
}

fn figure(batch: &Batch) -> impl IntoView + use<> {
    let size = place(batch.weights.len(), LEFT);
    let strongest = batch.weights.iter().flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
    let cells = batch.weights.iter().enumerate().flat_map(|(row, weights)| {
        weights.iter().enumerate().map(move |(column, &weight)| cell(row, column, weight, strongest))
    });
    let cells = cells.collect_view();
    let images = |images: &[String], is_row: bool| {
        images
            .iter()
            .zip(&batch.captions)
            .enumerate()
            .map(|(index, (address, caption))| {
                let along = place(index, if is_row { TOP } else { LEFT });
                let (x, y) = if is_row { (0.0, along) } else { (along, 0.0) };
                let side = if is_row { "Winner" } else { "Loser" };
                view! {
                    <image href=address.clone() x=x y=y width=IMAGE height=IMAGE class="pixels">
                        <title>{format!("{side}: {caption}")}</title>
                    </image>
                }
            })
            .collect_view()
    };
    let (winners, losers) = (images(&batch.winners, true), images(&batch.losers, false));
    let captions = batch.captions.iter().map(|caption| view! { <li>{caption.clone()}</li> }).collect_view();
    view! {
        <figure class="weights">
            <svg viewBox=format!("0 0 {size} {size}") role="img" aria-labelledby="weights-title">
                <title id="weights-title">{describe(batch)}</title>
                {winners}{losers}{cells}
            </svg>
            <figcaption>
                <p>
                    "The weights W of one batch at tau = "{batch.tau}": rows are winners, columns losers, and each row sums to 1. Diffusion-DPO \
                     uses the diagonal alone. Diff-contrast also learns from the losers of related prompts."
                </p>
                <details class="more">
                    <summary>"The prompts, in the order of the rows"</summary>
                    <ol>{captions}</ol>
                </details>
            </figcaption>
        </figure>
    }
}

fn cell(row: usize, column: usize, weight: f64, strongest: f64) -> impl IntoView {
    let (x, y) = (place(column, LEFT), place(row, TOP));
    let share = weight / strongest;
    let text = match share {
        0.9.. => "on-strong",
        0.58.. => "on-middle",
        _ => "on-weak",
    };
    view! {
        <g>
            <rect class="weight" x=x y=y width=CELL - GAP height=CELL - GAP rx="4" fill-opacity=format!("{:.3}", 0.06 + 0.94 * share) />
            <text class=text x=x + (CELL - GAP) / 2.0 y=y + (CELL - GAP) / 2.0 + 4.0 text-anchor="middle">
                {format!("{weight:.2}").trim_start_matches('0').to_owned()}
            </text>
        </g>
    }
}

/// The text alternative: the mean weight of a winner's own loser, and the strongest other pair.
fn describe(batch: &Batch) -> String {
    let count = batch.weights.len();
    let other = (0..count)
        .flat_map(|row| (0..count).map(move |column| (row, column)))
        .filter(|(row, column)| row != column)
        .filter_map(|(row, column)| Some((row, column, *batch.weights.get(row)?.get(column)?)))
        .max_by(|a, b| a.2.total_cmp(&b.2));
    let strongest = other.and_then(|(row, column, weight)| {
        let (winner, loser) = (batch.captions.get(row)?, batch.captions.get(column)?);
        Some(format!(" The largest weight off the diagonal is {weight:.2}, of “{winner}” against the loser of “{loser}”."))
    });
    format!(
        "Weights of {count} winners, in rows, and {count} losers, in columns.{}",
        strongest.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::{BATCH, Batch, describe};

    #[test]
    fn the_example_is_a_square_of_rows_that_sum_to_one() {
        let batch: Batch = serde_json::from_str(BATCH).expect("the example");
        let count = batch.captions.len();
        assert!(count >= 4 && batch.winners.len() == count && batch.losers.len() == count);
        for row in &batch.weights {
            assert_eq!(row.len(), count);
            assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-3);
        }
        assert!(
            describe(&batch).contains(&batch.captions[0]) || describe(&batch).contains("off the diagonal")
        );
    }
}
