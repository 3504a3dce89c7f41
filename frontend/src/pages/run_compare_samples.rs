//! Samples of several runs in a grid: a row for each prompt, a column for each run, all with the same seed.

use crate::api::image_url;
use crate::pages::run_compared::{Compared, hidden_fields};
use domain::api::{RunSample, run_page};
use leptos::prelude::*;
use leptos_router::params::ParamsMap;

/// The samples at the step that the address names, or each run's last ones.
pub(crate) fn samples_section(
    runs: &[Compared],
    query: &ParamsMap,
    fixed: &[(String, String)],
) -> Option<impl IntoView + use<>> {
    let columns: Vec<&Compared> = runs.iter().filter(|compared| !compared.samples.is_empty()).collect();
    if columns.is_empty() {
        return None;
    }
    let chosen: Option<i64> = query.get("sample").and_then(|step| step.parse().ok());
    let mut steps: Vec<i64> = columns.iter().flat_map(|c| &c.samples).map(|sample| sample.step).collect();
    steps.sort_unstable();
    steps.dedup();
    let options = steps
        .into_iter()
        .map(|step| {
            let is_chosen = chosen == Some(step);
            view! { <option value=step.to_string() selected=is_chosen>{format!("step {step}")}</option> }
        })
        .collect_view();
    let mut prompts: Vec<&str> = Vec::new();
    for sample in columns.iter().flat_map(|c| &c.samples) {
        if !prompts.contains(&sample.prompt.as_str()) {
            prompts.push(&sample.prompt);
        }
    }
    let heads = columns
        .iter()
        .map(|compared| {
            view! {
                <th scope="col">
                    <span class=format!("swatch run-{}", compared.chart.colour) aria-hidden="true"></span>
                    <a href=run_page(compared.run.id)>{compared.run.name.clone()}</a>
                </th>
            }
        })
        .collect_view();
    let rows = prompts
        .into_iter()
        .map(|prompt| {
            let cells = columns.iter().map(|compared| cell(&compared.samples, prompt, chosen)).collect_view();
            view! { <tr><th scope="row">{prompt.to_owned()}</th>{cells}</tr> }
        })
        .collect_view();
    Some(view! {
        <section aria-labelledby="sample-grid">
            <header class="section-head">
                <h2 id="sample-grid">"Samples"</h2>
                <form method="get" action="/runs/compare" class="chart-controls">
                    {hidden_fields(fixed, &["sample"])}
                    <label>"At " <select name="sample"><option value="">"each run's last step"</option>{options}</select></label>
                    <button class="quiet">"Show"</button>
                </form>
            </header>
            <p class="soft">"Every image of a row has the same prompt and seed."</p>
            <div class="scrolls" tabindex="0" role="region" aria-label="Samples">
                <table class="sample-grid"><thead><tr><th>"Prompt"</th>{heads}</tr></thead><tbody>{rows}</tbody></table>
            </div>
        </section>
    })
}

/// The image of a prompt at the last step with samples up to the chosen one.
fn cell(samples: &[RunSample], prompt: &str, chosen: Option<i64>) -> impl IntoView + use<> {
    let limit = chosen.unwrap_or(i64::MAX);
    let fitting = samples.iter().filter(|sample| sample.prompt == prompt && sample.step <= limit);
    let content = fitting.max_by_key(|sample| sample.step).map(|sample| {
        let description = format!("{prompt}, step {}", sample.step);
        view! {
            <a href=image_url(sample.image_id)><img src=image_url(sample.image_id) alt=description loading="lazy" /></a>
            <small class="soft">{format!("step {}", sample.step)}</small>
        }
    });
    view! { <td>{content}</td> }
}
