//! The check of a set before a run is submitted: a form for a spec, and the report.

use crate::api;
use crate::components::note::FailureNote;
use crate::format::number;
use crate::pages::layout::Head;
use domain::api::DataCheckResponse;
use domain::data_check::{CostEstimate, DataReport, Listed, size_text};
use leptos::prelude::*;
use leptos_router::hooks::use_query_map;

/// Sizes of images that are listed.
const SHOWN_SIZES: usize = 4;

/// Shown in the empty form.
const EXAMPLE: &str = "base = \"shapes\"\n\n[data]\nsource = \"images\"\nfolder = \"data/sets/photos\"\n";

#[component]
pub(crate) fn DataCheck() -> impl IntoView {
    let spec = use_query_map().with_untracked(|fields| fields.get("spec").unwrap_or_default());
    let call = spec.clone();
    let content = Suspend::new(async move {
        if call.trim().is_empty() {
            return ().into_any();
        }
        match api::check_data(&call).await {
            Ok(checked) => report(checked).into_any(),
            Err(failure) => view! { <FailureNote failure /> }.into_any(),
        }
    });
    let shown = if spec.is_empty() { EXAMPLE.to_owned() } else { spec };
    view! {
        <Head
            title="Check a dataset"
            lead="What a set holds, before you train on it: sizes, prompts, labels, duplicates and dropped rows."
        />
        <form class="stacked" method="get" action="/datasets/check">
            <label for="spec">"A training spec, or only its base and [data], as TOML or JSON"</label>
            <textarea id="spec" name="spec" rows="10" spellcheck="false" class="code">
                {shown}
            </textarea>
            <p class="soft">
                "The folder is relative to the server's working folder. The first 500 examples are read; "
                <code>"diff-contrast-trainer data check"</code> " reads all."
            </p>
            <button class="primary">"Check"</button>
        </form>
        <Suspense>{content}</Suspense>
    }
}

/// A report, with the first examples.
pub(crate) fn report(checked: DataCheckResponse) -> impl IntoView {
    let DataCheckResponse { report, contact_sheet } = checked;
    let warnings = report.warnings.iter().map(|text| view! { <li>{text.clone()}</li> }).collect_view();
    let has_warnings = !report.warnings.is_empty();
    view! {
        <section aria-labelledby="report">
            <h2 id="report">"Report"</h2>
            {has_warnings.then(|| view! { <div class="note bad"><ul class="inside">{warnings}</ul></div> })}
            <dl class="facts">{facts(&report)}</dl>
            {dropped(&report)}
            {repeated(&report)}
        </section>
        <section aria-labelledby="sheet">
            <h2 id="sheet">"First examples"</h2>
            <p class="soft">"Two examples per row, in the order of the set. A loser is on the right of its winner."</p>
            <img class="sheet" src=contact_sheet alt="The first examples of the set, with winner and loser side by side" />
        </section>
    }
}

fn facts(report: &DataReport) -> impl IntoView + use<> {
    let prompts = &report.prompts;
    let mut sizes: Vec<String> = report
        .sizes
        .iter()
        .take(SHOWN_SIZES)
        .map(|size| format!("{} of {} × {}", size.images, size.width, size.height))
        .collect();
    if report.sizes.len() > SHOWN_SIZES {
        sizes.push(format!("{} other sizes", report.sizes.len() - SHOWN_SIZES));
    }
    let read = if report.is_partial { ", the set goes on" } else { "" };
    let mut facts = vec![
        ("Source", report.source.clone()),
        ("Rows", format!("{}{read}", report.rows.rows)),
        ("Examples", format!("{}, {} with a loser", report.rows.pairs, report.with_loser)),
        ("Images", sizes.join(", ")),
        (
            "Prompts",
            format!(
                "{} different, {} to {} words, median {}",
                prompts.different, prompts.shortest, prompts.longest, prompts.median
            ),
        ),
        ("Duplicates", count(&report.duplicates)),
        ("Identical pairs", count(&report.identical_pairs)),
        ("Near-identical pairs", count(&report.near_identical_pairs)),
    ];
    for (model, of) in &report.models {
        facts.push(("Model", format!("{model}: {} wins, {} losses", of.wins, of.losses)));
    }
    if let Some(cost) = &report.cost {
        facts.extend(cost_facts(cost));
    }
    facts.into_iter().map(|(name, value)| view! { <div><dt>{name}</dt><dd>{value}</dd></div> }).collect_view()
}

fn cost_facts(cost: &CostEstimate) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("Trained values", cost.trained.to_string()),
        ("Memory without activations", size_text(cost.memory_bytes)),
        ("Encoded set on disk", size_text(cost.encoded_bytes)),
    ];
    if let Some(seconds) = cost.seconds {
        let minutes =
            format!("{} min at the speed of the latest run", number((seconds / 6.0).round() / 10.0));
        facts.push(("Time", minutes));
    }
    facts
}

fn count(listed: &Listed) -> String {
    match listed.first.first() {
        None => "none".to_owned(),
        Some(first) => format!("{} (first: {first})", listed.count),
    }
}

/// Rows that cannot be used, with the reason of each; nothing if all can.
fn dropped(report: &DataReport) -> Option<impl IntoView + use<>> {
    let named = report.rows.named.iter().map(|of| view! { <li>{of.to_string()}</li> }).collect_view();
    let left_out = report.rows.left_out.iter().map(|of| view! { <li>{of.to_string()}</li> }).collect_view();
    let summary = format!("Dropped rows: {}", report.rows);
    (!report.rows.named.is_empty() || !report.rows.left_out.is_empty()).then(|| {
        view! {
            <details class="more" open>
                <summary>{summary}</summary>
                <ul>{named}{left_out}</ul>
            </details>
        }
    })
}

fn repeated(report: &DataReport) -> Option<impl IntoView + use<>> {
    let rows = report
        .repeated_prompts
        .iter()
        .map(|of| view! { <li>{format!("{} times: {}", of.rows, of.prompt)}</li> })
        .collect_view();
    (!report.repeated_prompts.is_empty()).then(|| {
        view! {
            <details class="more">
                <summary>"Repeated prompts"</summary>
                <ul>{rows}</ul>
            </details>
        }
    })
}
