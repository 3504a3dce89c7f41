//! `cargo xtask demo`: from a fresh clone to a running site with training to watch and pairs to judge.

use crate::deployment::{self, Deployment};
use crate::frontend::{self, Profile};
use crate::http::Client;
use crate::process;
use crate::steps::Steps;
use crate::workspace::Workspace;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// What `demo` is asked to do.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where the site listens, on this machine only.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Stop when every job is done, and fail if one failed.
    #[arg(long)]
    once: bool,
    /// Asked of everybody who wants in.
    #[arg(long, env = "ACCESS_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// `cargo xtask demo`.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let data = workspace.root.join("data");
    let mut steps = Steps::new();
    steps.take("frontend", || frontend::build(&workspace, Profile::Small))?;
    steps.take("release build", || deployment::build(&workspace))?;
    let mut demo = steps
        .take("server", || Deployment::start(&workspace, &data, options.port, options.token.as_deref()))?;
    steps.take("worker", || demo.start_worker(&workspace, &data))?;
    let mut waiting = steps.take("jobs", || {
        let mut waiting = not_yet_asked_for(&workspace.root, &mut demo.client)?;
        submit_ready(&mut waiting, &mut demo.client).map(|_| waiting)
    })?;
    steps.print_summary();

    let url = demo.client.url();
    println!();
    println!("  Open {url}/ in a browser: training is live under Runs, pairs are under Judge.");
    println!("  An image of your own:");
    println!(
        "    curl -sf '{url}/generate?prompt=a+large+red+circle+on+a+blue+background&seed=1' -o out.png"
    );
    println!(
        "  Everything it remembers is in {}. Ctrl-C stops it; the same command goes on from there.",
        data.display()
    );
    println!();
    let failed = follow(&mut demo, &mut waiting, options.once)?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The demo's jobs, in order, that nobody has asked for on this database.
fn not_yet_asked_for(root: &Path, client: &mut Client) -> Result<VecDeque<Value>> {
    let folder = root.join("trainer/configs/demo");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .with_context(|| format!("reading {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    ensure!(!files.is_empty(), "{} holds no configs", folder.display());
    let known: Vec<String> = jobs(client)?.iter().map(|known| label(&known["spec"])).collect();
    let mut waiting = VecDeque::new();
    for file in files {
        let read = std::fs::read_to_string(&file).map_err(anyhow::Error::from).and_then(|text| job(&text));
        let body = read.with_context(|| format!("reading {}", file.display()))?;
        if known.contains(&label(&body)) {
            println!("    already asked for: {}", label(&body));
        } else {
            waiting.push_back(body);
        }
    }
    Ok(waiting)
}

/// Asks for the next jobs, up to the first whose model an earlier one has still to make. How many were asked for.
fn submit_ready(waiting: &mut VecDeque<Value>, client: &mut Client) -> Result<usize> {
    let before = waiting.len();
    while let Some(body) = waiting.front() {
        if !is_known(needed(body), client)? {
            break;
        }
        client.post("/api/v1/jobs", body)?.expect(202).with_context(|| label(body))?;
        println!("    submitted {}", label(body));
        waiting.pop_front();
    }
    Ok(before - waiting.len())
}

/// The model that a job starts from.
fn needed(spec: &Value) -> &str {
    spec["base"].as_str().or(spec["model"].as_str()).unwrap_or_default()
}

fn is_known(model: &str, client: &mut Client) -> Result<bool> {
    let models = client.get_json("/api/v1/models")?;
    let mut names = models["items"].as_array().into_iter().flatten().map(|row| &row["model"]["name"]);
    Ok(names.any(|name| name == model))
}

/// A config as the body of a job: the spec says by its keys which kind it is.
fn job(config: &str) -> Result<Value> {
    let mut body: Value = toml::from_str(config)?;
    let fields = body.as_object_mut().context("a config is a table")?;
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

/// Asks for the waiting jobs as their models appear and prints a line whenever a job changes its state or has done
/// another tenth, until we are asked to stop or, with `once`, until nothing is left to do. The number of jobs that
/// failed or never could begin.
fn follow(demo: &mut Deployment, waiting: &mut VecDeque<Value>, once: bool) -> Result<usize> {
    let mut seen: HashMap<String, (String, i64)> = HashMap::new();
    let mut told = false;
    while process::pause(Duration::from_secs(1)).is_ok() {
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
        // A model is there before its job is done, so what is not ready after the last job never will be.
        let submitted = submit_ready(waiting, &mut demo.client)?;
        if submitted + count_in("queued") + count_in("running") > 0 {
            continue;
        }
        if let (Some(next), false) = (waiting.front(), told) {
            println!("{} waits for the model {}, which no job makes", label(next), needed(next));
            told = true;
        }
        if once {
            return Ok(count_in("failed") + waiting.len());
        }
    }
    println!("stopping; a job in training saves its state first");
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
