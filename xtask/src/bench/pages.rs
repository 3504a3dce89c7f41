//! `bench pages`: the time from request to last byte of every page, of the requests that pages make, and of a vote, on a
//! database of a busy year, on SQLite and on Postgres.

use super::options::Options;
use crate::deployment::{self, Build, Deployment};
use crate::frontend::{self, Profile};
use crate::http::Client;
use crate::postgres::Postgres;
use crate::process;
use crate::steps::Steps;
use crate::system;
use crate::workspace::Workspace;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

/// Fewest timed requests of a kind: the 95th percentile of fewer is their maximum.
const FEWEST: usize = 20;
const WARM_UP: usize = 2;
/// Bounds on the 95th percentile.
const PAGE: Duration = Duration::from_millis(100);
const CHART: Duration = Duration::from_millis(50);
const VOTE: Duration = Duration::from_millis(20);

/// A kind of request with its bound and sorted times.
struct Timed {
    what: String,
    bound: Duration,
    times: Vec<Duration>,
}

pub(super) fn run(options: &Options, steps: &mut Steps) -> Result<()> {
    ensure!(options.scale > 0.0, "--scale: use a number above 0");
    let workspace = Workspace::find()?;
    steps.run("frontend", || frontend::build(&workspace, Profile::Small))?;
    steps.run("build", || deployment::build_with(&workspace, Build::Release, &["pages_database"]))?;
    let postgres = Postgres::start()?;
    let data = workspace.target.join("bench-pages");
    let sqlite = deployment::sqlite(&data);
    let mut measured = Vec::new();
    for (name, url) in [("SQLite", sqlite.as_str()), ("Postgres", postgres.url.as_str())] {
        if data.exists() {
            fs::remove_dir_all(&data).with_context(|| format!("removing {}", data.display()))?;
        }
        let start =
            || Deployment::start_on(url, &workspace, Build::Release, &data, system::free_port()?, None);
        // The first start makes the tables and registers the bundled model.
        steps.run(&format!("{name}: tables"), || start().map(drop))?;
        steps.run(&format!("{name}: rows"), || seed(&workspace, url, options.scale))?;
        let mut server = steps.run(&format!("{name}: server"), start)?;
        let rounds = options.rounds.max(FEWEST);
        measured
            .push((name, steps.run(&format!("{name}: requests"), || measure(&mut server.client, rounds))?));
    }
    fs::remove_dir_all(&data).with_context(|| format!("removing {}", data.display()))?;
    for (name, timed) in measured {
        print(name, &timed);
    }
    Ok(())
}

fn seed(workspace: &Workspace, url: &str, scale: f64) -> Result<()> {
    let mut command = Command::new(workspace.target.join("release/diff-contrast-pages-database"));
    command.arg(url);
    for (option, count) in
        [("--runs", 1000.0), ("--long-points", 100_000.0), ("--images", 100_000.0), ("--votes", 1_000_000.0)]
    {
        command.arg(option).arg(format!("{:.0}", (count * scale).ceil()));
    }
    let judged = (1000.0 * scale).ceil().min(40.0);
    process::run(command.arg("--judged-models").arg(format!("{judged:.0}")))
}

fn measure(client: &mut Client, rounds: usize) -> Result<Vec<Timed>> {
    let mut timed = Vec::new();
    for (path, bound) in requests(client)? {
        let mut times = Vec::new();
        for round in 0..WARM_UP + rounds {
            let begin = Instant::now();
            client.get(&path)?.expect(200)?;
            if round >= WARM_UP {
                times.push(begin.elapsed());
            }
        }
        timed.push(Timed::new(shortened(&path), bound, times));
    }
    timed.extend(votes(client, rounds)?);
    Ok(timed)
}

/// The pages, and the requests that pages repeat, with their bounds.
fn requests(client: &mut Client) -> Result<Vec<(String, Duration)>> {
    let runs = client.get_json("/api/v1/runs?limit=3")?;
    let ids: Vec<&str> = runs["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item["run"]["id"].as_str())
        .collect();
    let [long, second, third] = ids[..] else { anyhow::bail!("the list of runs has no three runs: {runs}") };
    let board = client.get_json("/api/v1/leaderboard")?;
    let model = board["rows"][0]["model_id"].as_str().context("the leaderboard is empty")?.to_owned();
    let pages = [
        "/".to_owned(),
        "/runs".to_owned(),
        format!("/runs/{long}"),
        format!("/runs/compare?runs={long},{second},{third}"),
        "/studies".to_owned(),
        "/models".to_owned(),
        format!("/models/{model}"),
        "/datasets".to_owned(),
        "/datasets/votes".to_owned(),
        "/playground".to_owned(),
        "/judge".to_owned(),
        "/leaderboard".to_owned(),
        "/docs".to_owned(),
        "/help/index".to_owned(),
        "/api/v1/overview".to_owned(),
        "/api/v1/runs".to_owned(),
        format!("/api/v1/runs/{long}"),
        "/api/v1/jobs".to_owned(),
        "/api/v1/models".to_owned(),
        "/api/v1/images".to_owned(),
        "/api/v1/leaderboard".to_owned(),
        "/api/v1/leaderboard/agreement".to_owned(),
        // A question without votes among a million votes on another.
        "/api/v1/leaderboard?question=appeal".to_owned(),
        "/api/v1/leaderboard/agreement?question=appeal".to_owned(),
        "/api/v1/datasets/votes/pairs".to_owned(),
    ];
    let chart = format!("/api/v1/runs/{long}/series?metric=loss,implicit_accuracy");
    Ok(pages.into_iter().map(|path| (path, PAGE)).chain([(chart, CHART)]).collect())
}

/// Draws matchups, votes on them, and asks for the leaderboard after each vote.
fn votes(client: &mut Client, rounds: usize) -> Result<[Timed; 3]> {
    // The page sets the cookie of a rater.
    client.get("/judge")?.expect(200)?;
    let (mut drawn, mut cast, mut ranked) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..WARM_UP + rounds {
        let begin = Instant::now();
        let matchup: Value = client.get_json("/api/v1/matchups/next")?;
        let draw = begin.elapsed();
        let id = matchup["id"].as_str().with_context(|| format!("no matchup: {matchup}"))?;
        let begin = Instant::now();
        let body = json!({"choice": if round % 2 == 0 { "left" } else { "right" }});
        let reply = client.post(&format!("/api/v1/matchups/{id}/vote"), &body)?;
        let vote = begin.elapsed();
        ensure!(reply.status < 300, "the vote failed with status {}: {}", reply.status, reply.text());
        let begin = Instant::now();
        client.get("/leaderboard")?.expect(200)?;
        if round >= WARM_UP {
            drawn.push(draw);
            cast.push(vote);
            ranked.push(begin.elapsed());
        }
    }
    Ok([
        Timed::new("next matchup".to_owned(), PAGE, drawn),
        Timed::new("vote".to_owned(), VOTE, cast),
        Timed::new("/leaderboard after a vote".to_owned(), PAGE, ranked),
    ])
}

impl Timed {
    fn new(what: String, bound: Duration, mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self { what, bound, times }
    }

    fn at(&self, share: f64) -> Duration {
        let place = (share * self.times.len() as f64).ceil() as usize;
        self.times[place.clamp(1, self.times.len()) - 1]
    }
}

/// A path with its ids cut to four digits.
fn shortened(path: &str) -> String {
    let word = |word: &str| if word.len() == 36 { format!("{}…", &word[..4]) } else { word.to_owned() };
    let list = |part: &str| part.split(',').map(word).collect::<Vec<_>>().join(",");
    let query = |part: &str| part.split('=').map(list).collect::<Vec<_>>().join("=");
    path.split('/').map(query).collect::<Vec<_>>().join("/")
}

fn print(database: &str, timed: &[Timed]) {
    println!();
    println!("{:<52} {:>9} {:>9} {:>9}", format!("bench pages, {database}"), "median", "p95", "bound");
    for row in timed {
        let [median, p95, bound] =
            [row.at(0.5), row.at(0.95), row.bound].map(|time| time.as_secs_f64() * 1000.0);
        let mark = if p95 > bound { "  above" } else { "" };
        println!("{:<52} {median:>6.1} ms {p95:>6.1} ms {bound:>6.0} ms{mark}", row.what);
    }
}
