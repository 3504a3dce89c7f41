//! The images of an evaluation: largest wins and losses, and the first prompts side by side.

use crate::api::image_url;
use crate::format::metric_value;
use domain::api::EvaluatedModel;
use domain::evaluate::{EvaluationReport, Extreme, Metric, MetricComparison};
use leptos::prelude::*;

/// Prompts that are shown with the images of every model.
const SIDE_BY_SIDE: usize = 12;

/// Nothing if the models or their images are gone.
pub(crate) fn images(report: &EvaluationReport, models: &[EvaluatedModel]) -> impl IntoView + use<> {
    view! {
        {side_by_side(report, models)}
        {extremes(report, models)}
    }
}

/// The image of a model for a prompt, with the model's name below.
fn image(models: &[EvaluatedModel], name: &str, index: usize) -> Option<impl IntoView + use<>> {
    let id = models.iter().find(|model| model.name == name)?.images.get(&index).copied()?;
    let name = name.to_owned();
    Some(view! {
        <figure>
            <img src=image_url(id) alt=format!("by {name}") loading="lazy" width="256" height="256" />
            <figcaption>{name}</figcaption>
        </figure>
    })
}

fn side_by_side(report: &EvaluationReport, models: &[EvaluatedModel]) -> Option<impl IntoView + use<>> {
    let prompt_of = |index: usize| {
        let all = report.comparisons.iter().flat_map(|of| of.won_most.iter().chain(&of.lost_most));
        let mut named = all.filter(|extreme| extreme.index == index);
        named.next().map(|extreme| extreme.prompt.clone())
    };
    let row = |index: usize| {
        let images: Vec<_> =
            report.models.iter().filter_map(|scored| image(models, &scored.model, index)).collect();
        (!images.is_empty()).then(|| {
            let title = prompt_of(index).unwrap_or_else(|| format!("Prompt {}", index + 1));
            view! { <section class="evaluated"><h3>{title}</h3><div class="evaluated-images">{images}</div></section> }
        })
    };
    let rows: Vec<_> = (0..report.prompts.min(SIDE_BY_SIDE)).filter_map(row).collect();
    (!rows.is_empty()).then(|| {
        view! {
            <details>
                <summary>{format!("The first {} prompts by every model", rows.len())}</summary>
                {rows}
            </details>
        }
    })
}

fn extremes(report: &EvaluationReport, models: &[EvaluatedModel]) -> Option<impl IntoView + use<>> {
    let baseline = report.baseline.as_str();
    let pair = |metric: Metric, model: &str, of: &Extreme| {
        let (ours, theirs) = (image(models, model, of.index)?, image(models, baseline, of.index)?);
        let scores =
            format!("{} against {}", metric_value(metric, of.score), metric_value(metric, of.baseline));
        Some(view! {
            <section class="evaluated">
                <div class="evaluated-images">{ours}{theirs}</div>
                <p>{of.prompt.clone()} <br /> <small class="soft">{scores}</small></p>
            </section>
        })
    };
    let group = |title: &'static str, of: &MetricComparison, list: &[Extreme]| {
        let pairs: Vec<_> = list.iter().filter_map(|extreme| pair(of.metric, &of.model, extreme)).collect();
        (!pairs.is_empty()).then(|| view! { <h4>{title}</h4> <div class="evaluated-pairs">{pairs}</div> })
    };
    let section = |of: &MetricComparison| {
        let (won, lost) =
            (group("Largest wins", of, &of.won_most), group("Largest losses", of, &of.lost_most));
        (won.is_some() || lost.is_some()).then(|| {
            let title = format!("{} by {}", of.model, of.metric.label());
            view! { <details><summary>{title}</summary>{won}{lost}</details> }
        })
    };
    let sections: Vec<_> = report.comparisons.iter().filter_map(section).collect();
    (!sections.is_empty()).then(|| {
        view! {
            <section aria-labelledby="extremes">
                <h2 id="extremes">"Largest wins and losses"</h2>
                {sections}
            </section>
        }
    })
}
