//! What surrounds a run: its settings beside another run's, its lineage, its checkpoints, and who ran it.

use crate::format::{duration, moment, number, percent};
use domain::api::{RunDetail, RunLineage, ScoreAgainstBase, run_page};
use domain::evaluate::Metric;
use domain::model::Model;
use domain::run::Run;
use domain::train::TrainSpec;
use leptos::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;

/// The settings of a spec by dotted key, as configs write them.
pub(crate) fn settings(spec: &TrainSpec) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    flatten("", &serde_json::to_value(spec).unwrap_or_default(), &mut all);
    all
}

fn flatten(key: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                flatten(&key, value, into);
            }
        }
        Value::String(text) => drop(into.insert(key.to_owned(), text.clone())),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            into.insert(key.to_owned(), texts.join("; "));
        }
        other => drop(into.insert(key.to_owned(), other.to_string())),
    }
}

/// The keys whose values are not the same in all of these specs.
pub(crate) fn differing(all: &[BTreeMap<String, String>]) -> Vec<String> {
    let mut keys: Vec<&String> = all.iter().flat_map(BTreeMap::keys).collect();
    keys.sort_unstable();
    keys.dedup();
    let differs = |key: &&&String| all.windows(2).any(|pair| pair[0].get(**key) != pair[1].get(**key));
    keys.iter().filter(differs).map(|key| (*key).clone()).collect()
}

/// The settings as a table, beside those of another run if there is one.
pub(crate) fn spec_section(run: &Run, against: Option<&Run>) -> impl IntoView + use<> {
    let own = settings(&run.spec);
    let other = against.map(|other| settings(&other.spec));
    let mut keys: Vec<&String> = own.keys().chain(other.iter().flat_map(BTreeMap::keys)).collect();
    keys.sort_unstable();
    keys.dedup();
    let value = |of: &BTreeMap<String, String>, key: &String| {
        of.get(key).cloned().unwrap_or_else(|| "not set".to_owned())
    };
    let rows = keys
        .into_iter()
        .map(|key| {
            let (a, b) = (value(&own, key), other.as_ref().map(|other| value(other, key)));
            let differs = b.as_ref().is_some_and(|b| *b != a);
            view! {
                <tr class:differs=differs>
                    <th scope="row"><code>{key.clone()}</code></th>
                    <td>{a}</td>
                    {b.map(|b| view! { <td>{b}</td> })}
                </tr>
            }
        })
        .collect_view();
    let head = against.map(|other| {
        let count = differing(&[settings(&run.spec), settings(&other.spec)]).len();
        let differ = if count == 1 { "setting differs" } else { "settings differ" };
        view! {
            <p class="soft">
                {format!("{count} {differ} from ")}
                <a href=run_page(other.id)>{other.name.clone()}</a> ". " <a href=run_page(run.id)>"Show this run alone"</a>
            </p>
        }
    });
    let columns = against.map(|other| {
        view! { <thead><tr><th>"Setting"</th><th>{run.name.clone()}</th><th>{other.name.clone()}</th></tr></thead> }
    });
    let compare = format!("/runs/compare?run={}", run.id);
    let json = serde_json::to_string_pretty(&run.spec).unwrap_or_default();
    view! {
        <section aria-labelledby="spec">
            <header class="section-head">
                <h2 id="spec">"Spec"</h2>
                <a href=compare>"Compare with other runs"</a>
            </header>
            {head}
            <div class="scrolls" tabindex="0" role="region" aria-label="Settings and values"><table class="spec-table">{columns}<tbody>{rows}</tbody></table></div>
            <details class="more"><summary>"Show JSON"</summary><pre>{json}</pre></details>
        </section>
    }
}

/// What the run started from, its checkpoints, and what started from it.
pub(crate) fn lineage_section(detail: &RunDetail, lineage: &RunLineage) -> impl IntoView + use<> {
    let base = match &lineage.base {
        Some(base) => {
            let run = base.run_id.map(|run| view! { " of " <a href=run_page(run)>"its run"</a> });
            view! { <a href=format!("/models#{}", base.name)>{base.name.clone()}</a> {run} }.into_any()
        }
        None => view! { <span>{detail.run.spec.base.clone()}</span> <span class="soft">" (not in the database)"</span> }.into_any(),
    };
    let checkpoints = detail.models.iter().map(checkpoint).collect_view();
    let has_checkpoints = !detail.models.is_empty();
    let descendants = lineage.descendants.iter().map(descendant).collect_view();
    let has_descendants = !lineage.descendants.is_empty();
    view! {
        <section aria-labelledby="lineage">
            <h2 id="lineage">"Lineage"</h2>
            <ol class="lineage">
                <li><span class="soft">"Base"</span> <span>{base}</span></li>
                <li><span class="soft">"Run"</span> <b>{detail.run.name.clone()}</b></li>
                <li>
                    <span class="soft">"Checkpoints"</span>
                    {if has_checkpoints {
                        view! { <ul class="plain">{checkpoints}</ul> }.into_any()
                    } else {
                        view! { <span class="soft">"none yet"</span> }.into_any()
                    }}
                </li>
                {has_descendants.then(|| view! {
                    <li><span class="soft">"Used by"</span> <ul class="plain">{descendants}</ul></li>
                })}
            </ol>
        </section>
    }
}

fn checkpoint(model: &Model) -> impl IntoView + use<> {
    view! {
        <li>
            <a href=format!("/models#{}", model.name)>{model.name.clone()}</a>
            {model.step.map(|step| view! { <span class="soft">" step " {step}</span> })}
            " " <a class="soft" href=format!("/playground?model={}", model.name)>"Generate"</a>
        </li>
    }
}

fn descendant(model: &Model) -> impl IntoView + use<> {
    let run = model.run_id.map(|run| view! { " by " <a href=run_page(run)>"its run"</a> });
    view! { <li><a href=format!("/models#{}", model.name)>{model.name.clone()}</a> {run}</li> }
}

/// Scores of the run's model and of its base.
pub(crate) fn scores_section(scores: &[ScoreAgainstBase]) -> Option<impl IntoView + use<>> {
    let model = scores.first()?.model.clone();
    let rows = scores
        .iter()
        .map(|score| {
            let rate = score.win_rate;
            let interval = format!("{} [{}, {}]", percent(rate.value), percent(rate.low), percent(rate.high));
            view! {
                <tr>
                    <td class="lead">{score.metric.label()}</td>
                    <td data-label="Model" class="figure">{shown(score.metric, score.mean)}</td>
                    <td data-label="Base" class="figure">{shown(score.metric, score.base_mean)}</td>
                    <td data-label="Win rate" class="figure">{interval}</td>
                    <td data-label="Image pairs" class="figure">{rate.votes}</td>
                </tr>
            }
        })
        .collect_view();
    Some(view! {
        <section aria-labelledby="scores">
            <h2 id="scores">"Evaluation"</h2>
            <p class="soft">{format!("{model} against its base on images of equal prompts and seeds. Higher is better for every metric; intervals are 95%.")}</p>
            <table class="cards-on-phone">
                <thead><tr><th>"Metric"</th><th class="figure">"Model"</th><th class="figure">"Base"</th><th class="figure">"Win rate"</th><th class="figure">"Image pairs"</th></tr></thead>
                <tbody>{rows}</tbody>
            </table>
        </section>
    })
}

/// A mean score; rules of the bundled world are shares.
pub(crate) fn shown(metric: Metric, mean: f64) -> String {
    if metric.is_rule() { percent(mean) } else { number(mean) }
}

/// Who ran it, and how long it waited and took.
pub(crate) fn execution_section(detail: &RunDetail) -> impl IntoView + use<> {
    let job = &detail.job;
    let mut facts = vec![("Submitted", moment(job.created_at))];
    if let Some(started) = job.started_at {
        facts.push(("Waited", duration(job.created_at, started)));
        facts.extend(job.finished_at.map(|end| ("Took", duration(started, end))));
    }
    facts.extend(job.worker.clone().map(|worker| ("Worker", worker)));
    facts.push(("Attempts", job.attempt.to_string()));
    let facts = facts
        .into_iter()
        .map(|(name, value)| view! { <div><dt>{name}</dt><dd>{value}</dd></div> })
        .collect_view();
    view! {
        <section aria-labelledby="execution">
            <h2 id="execution">"Execution"</h2>
            <dl class="facts">{facts}</dl>
        </section>
    }
}

#[cfg(test)]
mod tests {
    use super::{differing, settings};

    #[test]
    fn only_settings_that_differ_are_listed() {
        let spec = |changes: serde_json::Value| {
            let mut spec = serde_json::json!({
                "name": "a", "base": "shapes", "objective": { "kind": "diff_contrast", "beta": 2000.0, "tau": 0.1 },
                "data": { "source": "shapes", "set": "winter", "count": 64 }, "steps": 10, "batch_size": 4,
                "learning_rate": { "rate": 1e-5 }
            });
            spec.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
            settings(&serde_json::from_value(spec).expect("a spec"))
        };
        let a = spec(serde_json::json!({}));
        let b =
            spec(serde_json::json!({ "objective": { "kind": "diff_contrast", "beta": 500.0, "tau": 0.1 } }));
        let c = spec(serde_json::json!({ "ema_decay": 0.99, "sample_prompts": ["x", "y"] }));
        assert_eq!(a["objective.tau"], "0.1");
        assert_eq!(differing(&[a.clone(), b.clone()]), ["objective.beta"]);
        assert_eq!(differing(&[a.clone(), a.clone(), c.clone()]), ["ema_decay", "sample_prompts"]);
        assert_eq!(c["sample_prompts"], "x; y");
        assert!(differing(&[a]).is_empty() && differing(&[]).is_empty());
    }
}
