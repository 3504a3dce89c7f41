//! A study on the bundled model: killed at random moments, shared by two processes, resumed and reported.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const SPEC: &str = r#"
name = "tiny"
base = "shapes"
seeds = [1, 2]
budget = { pairs = 8 }
train = { batch_size = 2, learning_rate.rate = 1e-4, checkpoint_every = 1 }

[[data]]
name = "winter"
set = { source = "shapes", set = "winter", count = 8 }

[[methods]]
name = "sft"
objective = { kind = "sft" }
search = { "learning_rate.rate" = [1e-4, 1e-3] }

[[methods]]
name = "sft-contrast"
after = "sft"
objective = { kind = "diff_contrast", beta = 500.0, tau = 0.5 }
search = { "objective.beta" = [500, 2000] }

[[ablations]]
name = "tau"
method = "sft-contrast"
key = "objective.tau"
values = [0.1, 5]

[tuning]
metric = "clip_score"
[[tuning.evaluate]]
name = "validation"
steps = 2
prompts = { source = "list", prompts = ["a red circle", "a blue star"] }

[[evaluate]]
name = "held_out"
steps = 2
prompts = { source = "shapes_held_out", count = 3 }
"#;

/// Cells of the spec: 4 trials and their evaluations, 4 final runs, 2 evaluations, 4 runs and 2 evaluations of the ablation.
const CELLS: usize = 20;

fn command(scratch: &Path, out: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"));
    command
        .args(["study", "spec.toml", "--out", out, "--cache", "cache"])
        .args(["--models", concat!(env!("CARGO_MANIFEST_DIR"), "/../models")])
        .current_dir(scratch)
        .env("RUST_LOG", "warn")
        // Shorter than the default, so that the jobs of killed processes are taken over soon.
        .env("LEASE", "5")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn scratch(spec: &str) -> tempfile::TempDir {
    let scratch = tempfile::tempdir().expect("a folder");
    std::fs::write(scratch.path().join("spec.toml"), spec).expect("a spec");
    scratch
}

fn finish(process: Child) -> Output {
    let output = process.wait_with_output().expect("an exit status");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn read(scratch: &Path, file: &str) -> String {
    std::fs::read_to_string(scratch.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Two processes on one folder are killed at moments spread over the study, then both finish it.
#[test]
fn a_study_killed_at_any_moment_ends_in_the_same_report_on_two_workers() {
    let scratch = scratch(SPEC);
    let begun = Instant::now();
    let output = finish(command(scratch.path(), "whole").spawn().expect("the trainer"));
    let whole = begun.elapsed();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("winter held_out: sft CLIP score"), "{text}");

    let kills: u32 = std::env::var("KILLS").map_or(5, |text| text.parse().expect("KILLS is a number"));
    let mut died = 0;
    for kill in 0..kills {
        let mut workers: Vec<Child> =
            (0..2).map(|_| command(scratch.path(), "parts").spawn().expect("the trainer")).collect();
        // Multiples of the golden ratio modulo 1 are spread evenly, whatever their number.
        for (i, worker) in workers.iter_mut().enumerate() {
            let moment = (f64::from(2 * kill + i as u32 + 1) * 0.618_033_988_75).fract();
            std::thread::sleep(whole.mul_f64(0.02 + 0.3 * moment / f64::from(kills)));
            worker.kill().expect("killed");
            died += u32::from(!worker.wait().expect("an exit status").success());
        }
    }
    assert!(died > 0, "every process finished before it was killed");
    let workers = [(), ()].map(|()| command(scratch.path(), "parts").spawn().expect("the trainer"));
    workers.into_iter().for_each(|worker| drop(finish(worker)));

    for file in ["report.json", "scores.csv", "report.html"] {
        let (a, b) =
            (read(scratch.path(), &format!("whole/{file}")), read(scratch.path(), &format!("parts/{file}")));
        let differing = a.lines().zip(b.lines()).find(|(a, b)| a != b);
        assert!(a == b, "{file} differs after {died} kills: {differing:?}");
    }
    check_report(&read(scratch.path(), "whole/report.json"));
    check_rebuilt(scratch.path());
    check_resumed(scratch.path());
}

fn check_report(text: &str) {
    let report: Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(report["failures"], serde_json::json!([]), "{text}");
    let table = &report["tables"][0];
    let rows = table["rows"].as_array().expect("rows");
    let methods: Vec<&str> = rows
        .iter()
        .filter(|row| row["measure"] == "clip_score")
        .filter_map(|row| row["method"].as_str())
        .collect();
    assert_eq!(methods, ["base", "sft", "sft-contrast"]);
    assert!(rows.iter().any(|row| row["measure"] == "shape_and_colour"));
    let of_sft = rows.iter().find(|row| row["method"] == "sft").expect("a row");
    assert_eq!((&of_sft["mean"]["seeds"], &of_sft["mean"]["prompts"]), (&2.into(), &3.into()));
    for search in report["searches"].as_array().expect("searches") {
        let trials = search["trials"].as_array().expect("trials");
        assert_eq!(trials.iter().filter(|trial| trial["chosen"] == true).count(), 1);
        let value = |trial: &Value| trial["value"].as_f64().expect("a value");
        let best = trials.iter().map(value).fold(f64::NEG_INFINITY, f64::max);
        assert!(trials.iter().all(|trial| (trial["chosen"] == true) == (value(trial) >= best)), "{search}");
    }
    let points = report["ablations"][0]["points"].as_array().expect("points");
    assert_eq!(
        points.iter().map(|point| point["value"].as_str()).collect::<Vec<_>>(),
        [Some("0.1"), Some("5")]
    );
    assert!(report["curves"].as_array().is_some_and(|curves| curves.iter().any(|of| of["curve"] == "loss")));
}

/// The report is made again from the stored scores alone.
fn check_rebuilt(scratch: &Path) {
    let moved = scratch.join("moved");
    std::fs::create_dir(&moved).expect("a folder");
    for file in ["study.json", "scores.csv", "curves.csv", "samples"] {
        std::fs::rename(scratch.join("parts").join(file), moved.join(file)).expect("moved");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_diff-contrast-trainer"))
        .args(["study", "report"])
        .arg(&moved)
        .output()
        .expect("the trainer");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for file in ["report.json", "report.html"] {
        assert!(
            read(scratch, &format!("whole/{file}")) == read(scratch, &format!("moved/{file}")),
            "{file} differs"
        );
    }
}

/// A finished study does nothing again, and a changed spec is refused with what differs.
fn check_resumed(scratch: &Path) {
    let begun = Instant::now();
    let output = finish(command(scratch, "whole").spawn().expect("the trainer"));
    assert!(begun.elapsed() < Duration::from_secs(60), "nothing is left to do");
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(shown.contains(&format!("{CELLS} of {CELLS} cells")), "{shown}");
    std::fs::write(scratch.join("spec.toml"), SPEC.replace("pairs = 8", "pairs = 16")).expect("a spec");
    let output = command(scratch, "whole").output().expect("the trainer");
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("differs in budget.pairs"), "{error}");
}

/// One of the two sets has no files.
#[test]
fn a_failed_cell_is_named_and_the_others_go_on_and_it_can_be_tried_again() {
    let spec = r#"
        name = "partly"
        base = "shapes"
        seeds = [1]
        budget = { pairs = 4 }
        train = { batch_size = 2, learning_rate.rate = 1e-4 }
        methods = [{ name = "sft", objective = { kind = "sft" } }]
        data = [
            { name = "none", set = { source = "folder", folder = "pairs" } },
            { name = "winter", set = { source = "shapes", set = "winter", count = 8 } },
        ]
        evaluate = [{ name = "held_out", steps = 2, prompts = { source = "shapes_held_out", count = 1 } }]
    "#;
    let scratch = scratch(spec);
    let report = |output: &Output| -> Value {
        let page = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(page.contains("final/sft/none/seed1: "), "{page}");
        serde_json::from_str(&read(scratch.path(), "out/report.json")).expect("JSON")
    };
    let first = report(&finish(command(scratch.path(), "out").spawn().expect("the trainer")));
    let cells: Vec<&str> =
        first["failures"].as_array().expect("failures").iter().filter_map(|of| of["cell"].as_str()).collect();
    assert_eq!(cells, ["final/sft/none/seed1", "evaluate/held_out/none/seed1"]);
    assert_eq!(first["failures"][1]["reason"], "needs final/sft/none/seed1");
    let measured = |report: &Value, set: usize| report["tables"][set]["rows"].as_array().map_or(0, Vec::len);
    assert!(measured(&first, 0) == 0 && measured(&first, 1) > 0, "{first}");

    let mut retry = command(scratch.path(), "out");
    let again = finish(retry.arg("--retry").spawn().expect("the trainer"));
    assert!(String::from_utf8_lossy(&again.stdout).contains("1 cells are submitted again"));
    assert_eq!(report(&again), first, "it fails again, and the rest stays");
    let folder: PathBuf = scratch.path().join("out/artifacts/studies");
    assert_eq!(std::fs::read_dir(folder).expect("studies").count(), 1);
}
