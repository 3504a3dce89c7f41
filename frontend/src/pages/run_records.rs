//! The log of a run, and what it takes of its worker: as parts of its page, and as a page of its own, which the former follows.

use crate::api::{self, ApiResult};
use crate::format::{bytes, duration, number};
use crate::pages::layout::{Head, loaded};
use crate::pages::live_stream::live_stream;
use crate::pages::run_address::run_id;
use domain::Timestamp;
use domain::api::{path, run_page};
use domain::id::RunId;
use domain::log::LogLine;
use domain::run::Run;
use domain::usage::{PartTime, RunUsage, Usage};
use leptos::prelude::*;
use leptos_router::hooks::use_params_map;

/// Lines of the log on a page.
const LINES: u32 = 200;

/// What a worker has recorded of a run.
pub(crate) struct Records {
    lines: Vec<LogLine>,
    usage: RunUsage,
}

/// Reads the last lines and the measurements.
pub(crate) async fn load_records(id: RunId) -> ApiResult<Records> {
    Ok(Records { lines: api::run_log(id, LINES).await?.items, usage: api::run_usage(id).await? })
}

/// The address of the page of a run's records.
pub(crate) fn records_page(id: RunId) -> String {
    format!("/runs/{id}/log")
}

#[component]
pub(crate) fn RunRecordsPage() -> impl IntoView {
    let id = use_params_map().with_untracked(|params| params.get("id").unwrap_or_default());
    loaded(load(id), |(cursor, run, records)| {
        let stream = (!run.state.is_final()).then(|| {
            live_stream(format!("{}?run={}", path::EVENTS, run.id), cursor, Some(records_page(run.id)))
        });
        view! {
            <Head title=format!("Log of {}", run.name)>
                <p class="lead"><a href=run_page(run.id)>"Curves, samples and settings"</a>" of the run."</p>
            </Head>
            {stream}
            {records_sections(&run, records)}
        }
    })
}

/// Where the events after the page begin, the run, and its records.
async fn load(id: String) -> ApiResult<(String, Run, Records)> {
    let id = run_id(&id)?;
    let cursor = api::event_cursor().await?;
    Ok((cursor, api::run(id).await?.run, load_records(id).await?))
}

/// The sections, whose parts are kept up to date.
pub(crate) fn records_sections(run: &Run, records: Records) -> impl IntoView + use<> {
    let Records { lines, usage } = records;
    view! {
        <section aria-labelledby="usage">
            <h2 id="usage">"Time and memory"</h2>
            <div data-part="usage">{usage_part(&usage)}</div>
        </section>
        <section aria-labelledby="log">
            <header class="section-head">
                <h2 id="log">"Log"</h2>
                <a href=path::RUN_LOG_TEXT.replace("{id}", &run.id.to_string())>"Download"</a>
            </header>
            <div data-part="log">{log_part(lines)}</div>
        </section>
    }
}

fn log_part(lines: Vec<LogLine>) -> AnyView {
    if lines.is_empty() {
        return view! { <p class="soft">"No worker has logged anything for this run. A run of the terminal has no log here."</p> }
            .into_any();
    }
    let cut = lines.first().is_some_and(|line| line.line > 1);
    let rows: Vec<_> = lines.into_iter().map(row).collect();
    view! {
        {cut.then(|| view! { <p class="soft">{format!("The last {LINES} lines; the download has those before too, up to 5000.")}</p> })}
        <div class="run-log" tabindex="0" role="region" aria-label="Lines of the log">
            <table class="plain-table">
                <thead class="visually-hidden"><tr><th>"Time"</th><th>"Level"</th><th>"Message"</th></tr></thead>
                <tbody>{rows}</tbody>
            </table>
        </div>
    }
    .into_any()
}

fn row(line: LogLine) -> impl IntoView {
    let LogLine { line, at, level, message } = line;
    view! {
        <tr data-key=line.to_string() class=level.as_str()>
            <td><time datetime=at.to_rfc3339()>{at.format("%m-%d %H:%M:%S").to_string()}</time></td>
            <td>{level.as_str()}</td>
            <td>{message}</td>
        </tr>
    }
}

fn usage_part(usage: &RunUsage) -> impl IntoView + use<> {
    let times = time_figure(&usage.time);
    let points = &usage.measurements;
    let of = |value: fn(&Usage) -> Option<f64>| -> Vec<(Timestamp, f64)> {
        points.iter().filter_map(|usage| Some((usage.at, value(usage)?))).collect()
    };
    let figures: Vec<_> = [
        curve("Processor cores in use", &of(|usage| Some(usage.cores)), number),
        curve("Memory of the worker", &of(|usage| Some(count(usage.memory))), size),
        curve("Memory in use on the host", &of(|usage| Some(count(usage.host_memory))), size),
        curve("Memory in use on the GPU", &of(|usage| usage.device_memory.map(count)), size),
    ]
    .into_iter()
    .flatten()
    .collect();
    let none = figures.is_empty().then(|| {
        view! { <p class="soft">"No measurements: a worker measures every ten seconds, and a run of the terminal is not measured."</p> }
    });
    view! { {times} {none} <div class="usage">{figures}</div> }
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn count(bytes: u64) -> f64 {
    bytes as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes that were counted in bytes"
)]
fn size(value: f64) -> String {
    bytes(value as u64)
}

/// Where a step's time goes, as a table with bars.
fn time_figure(time: &[PartTime]) -> Option<impl IntoView + use<>> {
    let total: f64 = time.iter().map(|part| part.seconds).sum();
    let rows: Vec<_> = time
        .iter()
        .map(|PartTime { part, seconds }| {
            let share = if total > 0.0 { 100.0 * seconds / total } else { 0.0 };
            view! {
                <tr>
                    <th scope="row">{part.clone()}</th>
                    <td class="figure">{format!("{seconds:.3} s")}</td>
                    <td class="figure">{format!("{share:.0}%")}</td>
                    <td class="bar-cell"><span class="time-bar" style=format!("width: {share:.1}%")></span></td>
                </tr>
            }
        })
        .collect();
    (total > 0.0).then(|| {
        view! {
            <table class="times">
                <caption>{format!("A step takes {total:.3} s: mean of the last 200 steps; samples, checkpoints and validation spread over all.")}</caption>
                <thead class="visually-hidden"><tr><th>"Part"</th><th>"Seconds"</th><th>"Share"</th><th>"Bar"</th></tr></thead>
                <tbody>{rows}</tbody>
            </table>
        }
    })
}

/// Width and height of a curve's drawing.
const DRAWING: (f64, f64) = (320.0, 60.0);

/// A curve from zero to its highest value over the time of the run, with its figures as text.
fn curve(
    title: &'static str,
    points: &[(Timestamp, f64)],
    text: fn(f64) -> String,
) -> Option<impl IntoView + use<>> {
    let ((start, _), (end, last)) = (points.first()?, points.last()?);
    let highest = points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a run are far below 2^52")]
    let after = |at: Timestamp| (at - *start).num_milliseconds() as f64;
    let (length, top) = (after(*end).max(1.0), highest.max(f64::MIN_POSITIVE));
    let line: Vec<String> = points
        .iter()
        .map(|(at, value)| {
            format!("{:.1},{:.1}", DRAWING.0 * after(*at) / length, DRAWING.1 * (1.0 - value / top))
        })
        .collect();
    let caption =
        format!("{title}: {} now, at most {}, over {}", text(*last), text(highest), duration(*start, *end));
    Some(view! {
        <figure>
            <figcaption>{caption.clone()}</figcaption>
            <svg viewBox=format!("0 -2 {} {}", DRAWING.0, DRAWING.1 + 4.0) preserveAspectRatio="none" role="img" aria-label=caption>
                <polyline points=line.join(" ") />
            </svg>
        </figure>
    })
}
