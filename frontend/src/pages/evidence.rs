//! What the method does to the bundled model: the committed study of its own pairs without guidance, in a table.

use crate::format::percent;
use domain::evaluate::Metric;
use domain::study::{Measure, MethodRow, StudyReport, WinRow};
use leptos::prelude::*;
use std::sync::LazyLock;

/// The report that `cargo xtask reproduce --full` wrote.
static REPORT: LazyLock<Option<StudyReport>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../docs/reproduction/own-unguided/report.json")).ok()
});

const MEASURE: Measure = Measure::Metric(Metric::PromptFollowed);
const NAMES: [(&str, &str); 4] =
    [("base", "Bundled model"), ("sft", "SFT"), ("dpo", "Diffusion-DPO"), ("contrast", "Diff-contrast")];

/// The section of the front page.
pub(crate) fn evidence() -> Option<impl IntoView> {
    let report = REPORT.as_ref()?;
    let table = report.tables.first()?;
    let rows = NAMES
        .iter()
        .filter_map(|(method, name)| {
            let row = table.rows.iter().find(|row| row.method == *method && row.measure == MEASURE)?;
            let wins = table
                .wins
                .iter()
                .find(|of| of.method == *method && of.against == "base" && of.measure == MEASURE);
            Some(line(name, row, wins))
        })
        .collect_view();
    let lead = format!(
        "The bundled model, trained on {} pairs of its own images, right against wrong by the rule of its world, drawn without guidance. Held-out \
         prompts, {} seeds, 95% intervals over seeds and prompts. ",
        report.pairs,
        report.seeds.len()
    );
    Some(view! {
        <section aria-labelledby="evidence">
            <header class="section-head">
                <h2 id="evidence">"What it does"</h2>
                <a href="/help/reproduction.html">"All studies"</a>
            </header>
            <p class="soft">{lead}</p>
            <div class="scrolls" tabindex="0" role="region" aria-label="Scores of the study">
                <table>
                    <thead>
                        <tr>
                            <th>"Model"</th>
                            <th class="figure">"Prompts followed"</th>
                            <th class="figure">"Wins against the bundled model"</th>
                            <th class="figure">"Better, equal, worse"</th>
                        </tr>
                    </thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
        </section>
    })
}

fn line(name: &str, row: &MethodRow, wins: Option<&WinRow>) -> impl IntoView + use<> {
    let rate = wins.map(|of| share(of.rate.mean, of.rate.interval)).unwrap_or_default();
    let counts = wins.map(|of| format!("{} · {} · {}", of.wins, of.ties, of.losses)).unwrap_or_default();
    view! {
        <tr>
            <th>{name.to_owned()}</th>
            <td class="figure">{share(row.mean.mean, row.mean.interval)}</td>
            <td class="figure">{rate}</td>
            <td class="figure">{counts}</td>
        </tr>
    }
}

/// A share with its interval, in percent.
fn share(mean: f64, interval: Option<[f64; 2]>) -> String {
    let of = |share: f64| format!("{:.1}", 100.0 * share);
    let interval = interval.map(|[low, high]| format!(" [{}, {}]", of(low), of(high))).unwrap_or_default();
    percent(mean) + &interval
}

#[cfg(test)]
mod tests {
    use super::{MEASURE, NAMES, REPORT, evidence};

    #[test]
    fn the_committed_study_has_every_row() {
        let report = REPORT.as_ref().expect("the committed report");
        for (method, _) in NAMES {
            let row = report.tables[0].rows.iter().find(|row| row.method == method && row.measure == MEASURE);
            assert!(row.is_some(), "{method}");
        }
        assert!(evidence().is_some());
    }
}
