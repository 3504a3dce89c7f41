//! The charts of one or several runs: controls, panels, and how their data is fetched and followed.

use crate::api::{self, ApiResult};
use crate::chart::{Chart, Shared};
use crate::chart_drawing::{LineOf, Panel};
use crate::chart_view::{Axis, View, default_smoothing};
use crate::components::chart_controls::Controls;
use crate::curve::{BUCKETS, Curve, Extent, curves, extend};
use crate::format::query;
use crate::meaning::{GROUPS, MAIN_GROUPS, of, title};
use crate::run_colour::{dashes, of_line};
use domain::api::{RunSeries, path};
use domain::id::RunId;
use domain::run::metric;
use leptos::prelude::*;
use leptos::task::spawn_local;
use serde::{Deserialize, Serialize};
use wasm_bindgen::JsValue;

/// A run whose curves are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChartRun {
    pub(crate) id: RunId,
    pub(crate) name: String,
    pub(crate) colour: u8,
    /// Steps of the spec.
    pub(crate) steps: i64,
    pub(crate) images_per_step: f64,
    pub(crate) extent: Extent,
}

/// The charts as the server rendered them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ChartsSnapshot {
    pub(crate) runs: Vec<ChartRun>,
    pub(crate) curves: Vec<Curve>,
    pub(crate) view: View,
    /// Names of the metrics, separated by commas; all when empty.
    pub(crate) metrics: String,
    /// Path of the page.
    pub(crate) path: String,
    /// Fields of the page's address that are not the view's.
    pub(crate) fixed: Vec<(String, String)>,
}

impl ChartsSnapshot {
    fn most_steps(&self) -> i64 {
        self.runs.iter().map(|run| run.steps).max().unwrap_or(1)
    }
}

/// Asks for the buckets of a run that a view shows; with `after`, only for those from its step on.
pub(crate) async fn fetch(
    run: RunId,
    images_per_step: f64,
    metrics: &str,
    view: &View,
    after: Option<i64>,
) -> ApiResult<RunSeries> {
    let mut fields = vec![format!("buckets={BUCKETS}"), format!("smoothing={}", view.smoothing)];
    if !metrics.is_empty() {
        fields.push(format!("metric={}", query(metrics)));
    }
    if view.axis == Axis::Time {
        fields.push("seconds=true".to_owned());
    }
    if let Some((from, to)) = steps_of(run, images_per_step, view).await? {
        fields.push(format!("from={from}"));
        if to < i64::MAX {
            fields.push(format!("to={}", to.max(from)));
        }
    }
    fields.extend(after.map(|step| format!("after={step}")));
    api::run_series(run, &fields.join("&")).await
}

/// The steps of the view's range. A range of seconds is looked up in the run's own times.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "steps are far below 2^52")]
async fn steps_of(run: RunId, images_per_step: f64, view: &View) -> ApiResult<Option<(i64, i64)>> {
    let Some((from, to)) = view.range else { return Ok(None) };
    let images = |value: i64| value as f64 / images_per_step.max(1.0);
    Ok(Some(match view.axis {
        Axis::Steps => (from, to),
        Axis::Images => {
            (images(from).floor() as i64, if to == i64::MAX { to } else { images(to).ceil() as i64 })
        }
        Axis::Time => {
            let speeds = format!("metric={}&buckets=2000&seconds=true", metric::SAMPLES_PER_SECOND);
            let reply = api::run_series(run, &speeds).await?;
            let times: Vec<(i64, f64)> = reply
                .series
                .iter()
                .flat_map(|series| &series.buckets)
                .filter_map(|bucket| Some((bucket.step, bucket.seconds?)))
                .collect();
            let before = times.partition_point(|time| time.1 < from as f64);
            let within = times.partition_point(|time| time.1 <= to as f64);
            let first = before.checked_sub(1).and_then(|n| times.get(n)).map_or(0, |time| time.0);
            (first, times.get(within).map_or(i64::MAX, |time| time.0))
        }
    }))
}

/// The charts' state, which the pages' islands share with their own parts.
#[derive(Clone, Copy)]
pub(crate) struct Charts {
    pub(crate) shared: Shared,
    runs: RwSignal<Vec<ChartRun>>,
    metrics: StoredValue<String>,
    /// Counts views, so that a response that comes late is dropped.
    generation: StoredValue<u32>,
    failed: RwSignal<bool>,
}

impl Charts {
    pub(crate) fn new(snapshot: &ChartsSnapshot) -> Self {
        let view = RwSignal::new(snapshot.view.clone());
        let curves = RwSignal::new(snapshot.curves.clone());
        let runs = RwSignal::new(snapshot.runs.clone());
        #[expect(clippy::cast_precision_loss, reason = "steps are far below 2^52")]
        let end = Signal::derive(move || {
            let ends = runs.with(|runs| {
                runs.iter()
                    .map(|run| match view.with(|view| view.axis) {
                        Axis::Steps => run.steps as f64,
                        Axis::Images => run.steps as f64 * run.images_per_step,
                        Axis::Time => 1.0,
                    })
                    .collect::<Vec<_>>()
            });
            ends.into_iter().fold(1.0, f64::max)
        });
        Self {
            shared: Shared { curves, view, cursor: RwSignal::new(None), end },
            runs,
            metrics: StoredValue::new(snapshot.metrics.clone()),
            generation: StoredValue::new(0),
            failed: RwSignal::new(false),
        }
    }

    /// Fetches everything that the view shows.
    async fn reload(self) {
        self.generation.update_value(|count| *count += 1);
        let generation = self.generation.get_value();
        let view = self.shared.view.get_untracked();
        let (mut all, mut runs) = (Vec::new(), self.runs.get_untracked());
        for (index, run) in runs.iter_mut().enumerate() {
            let metrics = self.metrics.get_value();
            let Ok(reply) = fetch(run.id, run.images_per_step, &metrics, &view, None).await else {
                self.failed.set(true);
                return;
            };
            run.extent = Extent::from(&reply);
            all.extend(curves(index, &reply));
        }
        if self.generation.get_value() == generation {
            self.failed.set(false);
            self.runs.set(runs);
            self.shared.curves.set(all);
        }
    }

    /// Fetches what a run has written since the last response. Returns the response, for its state and step.
    pub(crate) async fn follow(self, index: usize) -> Option<RunSeries> {
        let generation = self.generation.get_value();
        let view = self.shared.view.get_untracked();
        let run = self.runs.with_untracked(|runs| runs.get(index).cloned())?;
        let metrics = self.metrics.get_value();
        let after = Some(run.extent.step);
        let reply = fetch(run.id, run.images_per_step, &metrics, &view, after).await.ok()?;
        if self.generation.get_value() != generation {
            return Some(reply);
        }
        if !run.extent.is_continued_by(Extent::from(&reply)) {
            // A rewound run, or one that exceeds the range: its buckets are others.
            self.reload().await;
            return Some(reply);
        }
        self.runs.update(|runs| {
            if let Some(run) = runs.get_mut(index) {
                run.extent = Extent::from(&reply);
            }
        });
        if reply.series.iter().any(|series| !series.buckets.is_empty()) {
            self.shared.curves.update(|curves| extend(curves, index, &reply));
        }
        Some(reply)
    }
}

/// The panels of a page: for one run its groups, those that show whether it learns first; for several runs a panel for each
/// metric.
fn panels(curves: &[Curve], runs: &[ChartRun]) -> (Vec<Panel>, Vec<Panel>) {
    let line = |run: usize, metric: &str, label: String, colour: u8, dash: usize| LineOf {
        run,
        metric: metric.to_owned(),
        label,
        colour,
        dash,
        images_per_step: runs.get(run).map_or(1.0, |run| run.images_per_step),
    };
    let exists = |name: &str| curves.iter().any(|curve| curve.metric == name);
    let mut names: Vec<&str> = GROUPS.iter().flat_map(|group| group.metrics).map(|(name, _)| *name).collect();
    let mut others: Vec<&str> =
        curves.iter().map(|curve| curve.metric.as_str()).filter(|name| of(name).is_none()).collect();
    others.sort_unstable();
    others.dedup();
    if let [run] = runs {
        let mut main = Vec::new();
        let mut rest = Vec::new();
        for (index, group) in GROUPS.iter().enumerate() {
            let known = group.metrics.iter().filter(|(name, _)| exists(name)).enumerate();
            let lines: Vec<LineOf> = known
                .map(|(n, (name, label))| line(0, name, (*label).to_owned(), of_line(run.colour, n), 0))
                .collect();
            if !lines.is_empty() {
                let panel = Panel { title: group.title.to_owned(), meaning: group.meaning, lines };
                if index < MAIN_GROUPS { main.push(panel) } else { rest.push(panel) }
            }
        }
        rest.extend(others.into_iter().map(|name| Panel {
            title: name.to_owned(),
            meaning: "",
            lines: vec![line(0, name, name.to_owned(), run.colour, 0)],
        }));
        return (main, rest);
    }
    names.extend(others);
    let colours: Vec<u8> = runs.iter().map(|run| run.colour).collect();
    let dashes = dashes(&colours);
    let panels = names.into_iter().filter(|name| exists(name)).map(|name| Panel {
        title: title(name),
        meaning: of(name).map_or("", |(group, _)| group.meaning),
        lines: (0..runs.len())
            .filter(|n| curves.iter().any(|curve| curve.run == *n && curve.metric == name))
            .map(|n| line(n, name, runs[n].name.clone(), colours[n], dashes[n]))
            .collect(),
    });
    (panels.collect(), Vec::new())
}

/// The controls and charts of a page's runs.
#[component]
pub(crate) fn RunCharts(charts: Charts, snapshot: ChartsSnapshot) -> impl IntoView {
    let Charts { shared, runs, failed, .. } = charts;
    let Shared { curves, view, .. } = shared;
    let default = default_smoothing(snapshot.most_steps());
    let address = {
        let (path, fixed) = (snapshot.path.clone(), snapshot.fixed.clone());
        move |view: &View| {
            let fields = fixed.iter().map(|(name, value)| format!("{name}={}", query(value)));
            let own = Some(view.query(default)).filter(|own| !own.is_empty());
            let query = fields.chain(own).collect::<Vec<_>>().join("&");
            if query.is_empty() { path.clone() } else { format!("{path}?{query}") }
        }
    };
    keep_address(charts, address.clone());
    let one = snapshot.runs.first().filter(|_| snapshot.runs.len() == 1).map(|run| run.id);
    let csv_of = move |panel: &Panel| {
        let names: Vec<&str> = panel.lines.iter().map(|line| line.metric.as_str()).collect();
        one.map(|run| {
            let path = path::RUN_SERIES_CSV.replace("{id}", &run.to_string());
            format!("{path}?metric={}", query(&names.join(",")))
        })
    };
    // A memo, so that charts are rebuilt when a curve appears and not with every point.
    let groups = Memo::new(move |_| curves.with(|curves| runs.with_untracked(|runs| panels(curves, runs))));
    let charts_of = move |panels: Vec<Panel>| {
        panels
            .into_iter()
            .map(|panel| {
                let csv = csv_of(&panel);
                view! { <Chart panel shared csv /> }.into_any()
            })
            .collect_view()
    };
    view! {
        <section aria-labelledby="metrics" class="metrics">
            <header class="section-head">
                <h2 id="metrics">"Metrics"</h2>
                <Controls view address=Callback::new(move |view: View| address(&view)) fixed=snapshot.fixed />
            </header>
            <p class="soft chart-help">
                {move || view.with(|view| match view.smoothing {
                    1 => "Lines and figures are values of single steps.".to_owned(),
                    steps => format!("Lines and figures are means of the last {steps} steps."),
                })}
                " Faint lines reach the minimum and maximum of each part; ✕ marks values that are not finite. \
                 Drag over a chart to zoom all; double-click to zoom out."
            </p>
            {move || failed.get().then(|| view! {
                <p class="note bad" role="alert">"The server did not answer, so the charts show the previous view. Change the view to try again."</p>
            })}
            <div class="charts">{move || charts_of(groups.get().0)}</div>
            {move || {
                let rest = groups.get().1;
                (!rest.is_empty()).then(|| view! {
                    <h3 class="subhead">"More metrics"</h3>
                    <div class="charts">{charts_of(rest)}</div>
                })
            }}
            {move || {
                curves.with(Vec::is_empty).then(|| view! {
                    <p class="soft">"No metrics in this range yet. Charts appear with the first reported step."</p>
                })
            }}
        </section>
    }
}

/// Writes the view into the page's address, and fetches again when it needs other buckets.
fn keep_address(charts: Charts, address: impl Fn(&View) -> String + 'static) {
    let view = charts.shared.view;
    Effect::new(move |previous: Option<View>| {
        let now = view.get();
        if let Some(before) = previous.filter(|before| *before != now) {
            let history = window().history();
            // Without a history the address stays as it is.
            let _ = history.map(|h| h.replace_state_with_url(&JsValue::NULL, "", Some(&address(&now))));
            let needs = |view: &View| (view.range, view.axis, view.smoothing);
            if needs(&before) != needs(&now) {
                spawn_local(charts.reload());
            }
        }
        now
    });
}
