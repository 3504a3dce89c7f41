//! `cargo xtask demo`: builds everything, starts the site and submits the demo's jobs.

use crate::deployment::{self, Build, Deployment};
use crate::frontend::{self, Profile};
use crate::http::Client;
use crate::site_files::files_of;
use crate::steps::Steps;
use crate::stop;
use crate::workspace::Workspace;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// The command that gives the demo a closed campaign with votes, once its models are evaluated. It does nothing the second time.
const CAMPAIGN: [&str; 9] = [
    "simulate-campaign",
    "--model",
    "own-contrast",
    "--model",
    "own-dpo",
    "--model",
    "own-sft",
    "--model",
    "shapes",
];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Port of the site on the loopback interface.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Stop when all jobs have finished; exit with an error if one failed.
    #[arg(long)]
    once: bool,
    /// Access token that the server requires of every request.
    #[arg(long, env = "ACCESS_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// Exits with an error if a job failed.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let data = workspace.root.join("data");
    let mut steps = Steps::new();
    steps.run("frontend", || frontend::build(&workspace, Profile::Small))?;
    steps.run("build", || deployment::build(&workspace, Build::Demo))?;
    let mut demo = steps.run("server", || {
        Deployment::start(&workspace, Build::Demo, &data, options.port, options.token.as_deref())
    })?;
    steps.run("worker", || demo.start_worker(&workspace, &data))?;
    let mut pending = steps.run("jobs", || {
        let mut pending = unsubmitted(&workspace.root, &mut demo.client)?;
        submit_ready(&mut pending, &mut demo.client).map(|_| pending)
    })?;
    steps.print_summary();
    print_welcome(demo.client.url(), &data);
    let seed = |demo: &Deployment| demo.trainer(&workspace, &data, &CAMPAIGN);
    let failed = follow(&mut demo, &mut pending, options.once, &seed)?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_welcome(url: &str, data: &Path) {
    println!();
    println!(
        "  Open {url}/ in a browser. Runs shows the training live, Judge compares images. After the last job, Campaigns and the"
    );
    println!("  leaderboard show a month of votes by simulated raters.");
    println!("  Generate an image:");
    println!(
        "    curl -sf '{url}/generate?prompt=a+large+red+circle+on+a+blue+background&seed=1' -o out.png"
    );
    println!(
        "  All data is in {}. Press Ctrl-C to stop; `cargo xtask demo` resumes where it stopped.",
        data.display()
    );
    println!();
}

/// The demo's jobs that this database does not have, in the order of their files' names.
fn unsubmitted(root: &Path, client: &mut Client) -> Result<VecDeque<Value>> {
    let folder = root.join("trainer/configs/demo");
    let files = files_of(&folder, "toml")?;
    ensure!(!files.is_empty(), "{} contains no configs", folder.display());
    let known: Vec<String> = jobs(client)?.iter().map(|known| label(&known["spec"])).collect();
    let mut pending = VecDeque::new();
    for file in files {
        let read = std::fs::read_to_string(&file).map_err(anyhow::Error::from).and_then(|text| job(&text));
        let body = read.with_context(|| format!("reading {}", file.display()))?;
        if known.contains(&label(&body)) {
            println!("    already submitted: {}", label(&body));
        } else {
            pending.push_back(body);
        }
    }
    Ok(pending)
}

/// Submits pending jobs in order, up to the first whose model does not exist yet. Returns how many it submitted.
fn submit_ready(pending: &mut VecDeque<Value>, client: &mut Client) -> Result<usize> {
    let before = pending.len();
    while let Some(body) = pending.front() {
        if !model_exists(required_model(body), client)? {
            break;
        }
        client.post("/api/v1/jobs", body)?.expect(202).with_context(|| label(body))?;
        println!("    submitted: {}", label(body));
        pending.pop_front();
    }
    Ok(before - pending.len())
}

/// The model that a job trains or evaluates.
fn required_model(spec: &Value) -> &str {
    spec["base"].as_str().or(spec["model"].as_str()).unwrap_or_default()
}

fn model_exists(model: &str, client: &mut Client) -> Result<bool> {
    let models = client.get_json("/api/v1/models")?;
    let mut names = models["items"].as_array().into_iter().flatten().map(|row| &row["model"]["name"]);
    Ok(names.any(|name| name == model))
}

/// Turns a config file into the body of a job. Only a training spec has an objective.
fn job(config: &str) -> Result<Value> {
    let mut body: Value = toml::from_str(config)?;
    let fields = body.as_object_mut().context("the config is not a table")?;
    let kind = if fields.contains_key("objective") { "train" } else { "evaluate" };
    fields.insert("kind".to_owned(), kind.into());
    Ok(body)
}

/// All jobs, oldest first.
fn jobs(client: &mut Client) -> Result<Vec<Value>> {
    let mut page = client.get_json("/api/v1/jobs")?;
    let mut jobs = std::mem::take(page["items"].as_array_mut().context("the list of jobs has no items")?);
    jobs.reverse();
    Ok(jobs)
}

/// Submits pending jobs as their models appear and prints a line when a job changes its state or completes another
/// tenth. Runs until a stop is requested or, with `once`, until no job is left to run. Returns how many jobs failed
/// or could not start. `seed` runs once, when all jobs have succeeded.
fn follow(
    demo: &mut Deployment,
    pending: &mut VecDeque<Value>,
    once: bool,
    seed: &dyn Fn(&Deployment) -> Result<()>,
) -> Result<usize> {
    let mut seen: HashMap<String, (String, i64)> = HashMap::new();
    let (mut warned, mut seeded) = (false, false);
    while stop::pause(Duration::from_secs(1)).is_ok() {
        demo.check()?;
        let jobs = jobs(&mut demo.client)?;
        for job in &jobs {
            let state = text(&job["state"]);
            let (progress, total) = (count(&job["progress"]), count(&job["total"]));
            let now = (state.clone(), progress * 10 / total.max(1));
            if seen.insert(text(&job["id"]), now.clone()).is_none_or(|before| before != now) {
                let error = job["error"].as_str().map(|error| format!(": {error}")).unwrap_or_default();
                println!("{state:>10}  {:<40} {progress}/{total}{error}", label(&job["spec"]));
            }
        }
        let count_in = |state: &str| jobs.iter().filter(|job| job["state"] == state).count();
        // A model is listed before its job ends: after the last job, a missing model stays missing.
        let submitted = submit_ready(pending, &mut demo.client)?;
        if submitted + count_in("queued") + count_in("running") > 0 {
            continue;
        }
        if let (Some(next), false) = (pending.front(), warned) {
            println!("{} cannot start: no job makes its model {}", label(next), required_model(next));
            warned = true;
        }
        if !seeded && pending.is_empty() && count_in("failed") == 0 {
            seed(demo).context("making the demo's campaign")?;
            seeded = true;
        }
        if once {
            return Ok(count_in("failed") + pending.len());
        }
    }
    println!("Stopping. A running training job saves its state first.");
    Ok(0)
}

fn label(spec: &Value) -> String {
    let name = spec["name"].as_str().or(spec["model"].as_str()).unwrap_or_default();
    format!("{} {name}", text(&spec["kind"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn count(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::job;

    #[test]
    fn a_config_becomes_the_body_of_its_kind() {
        let train = job("name = \"sft\"\nsteps = 3\n[objective]\nkind = \"sft\"").expect("a train spec");
        assert_eq!(
            (train["kind"].as_str(), train["objective"]["kind"].as_str()),
            (Some("train"), Some("sft"))
        );
        let evaluate = job("model = \"shapes\"\n[prompts]\nsource = \"list\"").expect("an evaluate spec");
        assert_eq!(
            (evaluate["kind"].as_str(), evaluate["model"].as_str()),
            (Some("evaluate"), Some("shapes"))
        );
    }
}
