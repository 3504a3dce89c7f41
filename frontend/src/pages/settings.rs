//! What the server is configured with, and how this browser shows the pages. The script of every page (`page.js`) keeps the
//! choices.

use crate::api;
use crate::format::number;
use crate::pages::layout::{Head, loaded};
use domain::api::ServerSettings;
use leptos::prelude::*;

#[component]
pub(crate) fn Settings() -> impl IntoView {
    view! {
        <Head title="Settings" lead="How this browser shows the pages, and what the server was started with." />
        <section aria-labelledby="display">
            <h2 id="display">"Display"</h2>
            <div class="filter">
                {choice("theme", "Theme", [("", "as the system"), ("light", "light"), ("dark", "dark")])}
                {choice("density", "Density", [("", "comfortable"), ("compact", "compact")])}
            </div>
            <p class="soft">"Kept in this browser only. It needs JavaScript."</p>
        </section>
        {loaded(api::settings(), server)}
    }
}

/// A choice that the browser keeps under this name.
fn choice<const N: usize>(
    name: &'static str,
    label: &'static str,
    values: [(&'static str, &'static str); N],
) -> impl IntoView {
    let options = values.map(|(value, text)| view! { <option value=value>{text}</option> });
    view! { <label>{label}<select data-kept=name>{options.into_iter().collect_view()}</select></label> }
}

/// A value with its name, and the variable that sets it.
type Row = (&'static str, String, &'static str);

fn server(settings: ServerSettings) -> impl IntoView {
    let or = |value: Option<String>, otherwise: &str| value.unwrap_or_else(|| otherwise.to_owned());
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let device = format!("{}, which is a {}", settings.device, if settings.is_cpu { "CPU" } else { "GPU" });
    let places: Vec<Row> = vec![
        ("Version", settings.version, ""),
        ("Database", settings.database, "DATABASE_URL"),
        ("Artifacts", settings.artifacts, "ARTIFACTS"),
        ("Models", settings.models, "MODELS"),
        ("Datasets", settings.datasets, "DATASETS"),
        ("Access token", yes(settings.has_access_token), "ACCESS_TOKEN"),
    ];
    let batch = if settings.is_cpu { "1, by the device" } else { "8, by the device" };
    let generation: Vec<Row> = vec![
        ("Device", device, "DEVICE"),
        ("Default model", or(settings.default_model, "the bundled or the oldest one"), "DEFAULT_MODEL"),
        ("Requests queued or running", settings.queue_size.to_string(), "QUEUE_SIZE"),
        ("Models in memory", settings.loaded_models.to_string(), "LOADED_MODELS"),
        ("Images of a batch", or(settings.batch_size.map(|n| n.to_string()), batch), "BATCH_SIZE"),
        ("Largest side", format!("{} pixels", settings.largest_side), "LARGEST_SIDE"),
        (
            "Largest request",
            format!("{} megapixel-steps", number(settings.largest_request)),
            "LARGEST_REQUEST",
        ),
        ("Time of a request", format!("{} s", settings.generation_timeout), "GENERATION_TIMEOUT"),
        ("Stuck after", format!("{} s without progress", settings.generator_stall), "GENERATOR_STALL"),
        ("Built-in prompt filter", yes(settings.prompt_filter), "PROMPT_FILTER"),
        ("Further refused words", settings.refused_terms.to_string(), "REFUSED_TERMS"),
        ("Safety checker", yes(settings.has_safety_checker), "SAFETY_CHECKER"),
        (
            "Open connections",
            or(settings.max_connections.map(|n| n.to_string()), "by the limit of open files"),
            "MAX_CONNECTIONS",
        ),
    ];
    view! {
        <section aria-labelledby="server">
            <h2 id="server">"Server"</h2>
            {table(places)}
        </section>
        <section aria-labelledby="generation">
            <h2 id="generation">"Generation and limits"</h2>
            {table(generation)}
            <p class="soft">
                "Set by flags or variables when the server starts: "<a href="/help/deploy.html">"Deploy"</a>". Devices that train are on the page of "
                <a href="/workers">"workers"</a>"."
            </p>
        </section>
    }
}

fn table(rows: Vec<Row>) -> impl IntoView {
    let rows = rows
        .into_iter()
        .map(|(name, value, variable)| {
            let variable = (!variable.is_empty()).then(|| view! { <code>{variable}</code> });
            view! {
                <tr>
                    <td class="lead">{name}</td>
                    <td data-label="Value">{value}</td>
                    <td data-label="Set by">{variable}</td>
                </tr>
            }
        })
        .collect_view();
    view! {
        <table class="cards-on-phone settings">
            <thead><tr><th>"Setting"</th><th>"Value"</th><th>"Set by"</th></tr></thead>
            <tbody>{rows}</tbody>
        </table>
    }
}
