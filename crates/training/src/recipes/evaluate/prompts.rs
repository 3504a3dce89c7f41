//! The prompts of an evaluation, read or drawn as its spec says.

use super::contestant::Contestant;
use crate::data::encoded::EncodedSet;
use crate::data::sets;
use anyhow::{Context, Error, Result, bail, ensure};
use catalogue::run_folder;
use datasets::json_row::JsonRow;
use datasets::rows::Pairs;
use datasets::text::decode_text;
use domain::data::DataSpec;
use domain::dataset::Reason;
use domain::evaluate::PromptSpec;
use domain::limits::{MAX_PROMPT_BYTES, MAX_PROMPTS};
use shapes::world::{EVALUATION_SEED, held_out_prompts, training_prompts};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The styles of HPSv2's benchmark, in the order of the paper's table.
const STYLES: [&str; 4] = ["anime", "concept-art", "paintings", "photo"];

/// A prompt of the evaluation.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::recipes) struct Task {
    pub(in crate::recipes) prompt: String,
    /// Category of the prompt; empty where the source has none.
    pub(in crate::recipes) category: String,
}

impl Task {
    fn new(prompt: &str, category: &str) -> Self {
        Self { prompt: prompt.trim().to_owned(), category: category.to_owned() }
    }
}

/// Reads or draws the prompts of a spec.
///
/// # Errors
/// Fails if a file cannot be read or has another format than its source, if there are no prompts or too many, or if one
/// is empty or too long.
pub(in crate::recipes) fn tasks(spec: &PromptSpec, models: &[Contestant]) -> Result<Vec<Task>> {
    let tasks = match spec {
        PromptSpec::Validation { count } => {
            let file = validation_prompts(models)?;
            read(&file)?.lines().take(limit(*count)).map(|line| Task::new(line, "")).collect()
        }
        PromptSpec::Captions { data, count } => captions(data, limit(*count))?,
        PromptSpec::ShapesHeldOut { count } => held_out_prompts(*count as usize, EVALUATION_SEED)
            .into_iter()
            .map(|held_out| Task { prompt: held_out.caption, category: held_out.shape.to_string() })
            .collect(),
        PromptSpec::ShapesTraining { count, skip } => shapes_training(*count, *skip)?,
        PromptSpec::List { prompts } => prompts.iter().map(|prompt| Task::new(prompt, "")).collect(),
        PromptSpec::HpsBenchmark { folder, per_style } => hps(Path::new(folder), *per_style)?,
        PromptSpec::Parti { file, count } => {
            let tasks = parti(&read(Path::new(file))?).with_context(|| file.clone())?;
            tasks.into_iter().take(limit(*count)).collect()
        }
        PromptSpec::Text { file } => {
            let text = read(Path::new(file))?;
            text.lines().filter(|line| !line.trim().is_empty()).map(|line| Task::new(line, "")).collect()
        }
        PromptSpec::JsonLines { file } => {
            json_lines(&read(Path::new(file))?).with_context(|| file.clone())?
        }
    };
    ensure!(!tasks.is_empty(), "there are no prompts");
    ensure!(
        tasks.len() <= MAX_PROMPTS as usize,
        "there are {} prompts: use at most {MAX_PROMPTS}",
        tasks.len()
    );
    for (i, task) in tasks.iter().enumerate() {
        ensure!(!task.prompt.is_empty(), "prompt {} is empty", i + 1);
        ensure!(
            task.prompt.len() <= MAX_PROMPT_BYTES,
            "prompt {} has {} bytes: use at most {MAX_PROMPT_BYTES}",
            i + 1,
            task.prompt.len()
        );
    }
    Ok(tasks)
}

fn shapes_training(count: u32, skip: u32) -> Result<Vec<Task>> {
    let all = training_prompts();
    let (first, count) = (skip as usize, count as usize);
    let chosen = all.get(first..first.saturating_add(count));
    let chosen = chosen.with_context(|| {
        format!("count: with skip {skip} use at most {}", all.len().saturating_sub(first))
    })?;
    Ok(chosen.iter().map(|prompt| Task::new(prompt, "")).collect())
}

fn limit(count: Option<u32>) -> usize {
    count.map_or(usize::MAX, |count| count as usize)
}

/// The prompts that the run of the first trained model wrote.
fn validation_prompts(models: &[Contestant]) -> Result<PathBuf> {
    let of = |model: &Contestant| run_folder::run_of(model.folders.own()).map(run_folder::validation_prompts);
    models.iter().filter_map(of).find(|file| file.is_file()).context(
        "no model was trained with validation_examples, whose captions are the prompts by default: name prompts, for \
         example { source = \"text\", file = \"prompts.txt\" }",
    )
}

/// The first different captions of a set.
fn captions(data: &DataSpec, at_most: usize) -> Result<Vec<Task>> {
    let mut seen = HashSet::new();
    let mut tasks = Vec::new();
    let mut add = |caption: &str, tasks: &mut Vec<Task>| {
        if seen.insert(caption.trim().to_owned()) {
            tasks.push(Task::new(caption, ""));
        }
        tasks.len() == at_most
    };
    if let Some(pairs) = Pairs::open(data)? {
        for pair in pairs {
            if add(&pair?.prompt, &mut tasks) {
                break;
            }
        }
        return Ok(tasks);
    }
    match data {
        DataSpec::Prepared(prepared) => {
            for caption in EncodedSet::prepared(Path::new(&prepared.folder))?.captions()? {
                if add(&caption, &mut tasks) {
                    break;
                }
            }
        }
        DataSpec::Shapes { set, count, seed } => {
            for example in sets::draw(*set, *seed, 0..u64::from(*count)) {
                if add(&example.caption, &mut tasks) {
                    break;
                }
            }
        }
        other => bail!("data.source: the captions of {} are not in files here", other.source()),
    }
    Ok(tasks)
}

fn read(file: &Path) -> Result<String> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    decode_text(&bytes).map_err(|problem| Error::msg(format!("{} {problem}", file.display())))
}

/// Reads HPSv2's benchmark: one JSON list of prompts per style.
fn hps(folder: &Path, per_style: Option<u32>) -> Result<Vec<Task>> {
    let limit = per_style.map_or(usize::MAX, |count| count as usize);
    let mut tasks = Vec::new();
    for style in STYLES {
        let file = folder.join(format!("{style}.json"));
        let prompts: Vec<String> = serde_json::from_str(&read(&file)?)
            .with_context(|| format!("{} is not a JSON list of prompts", file.display()))?;
        tasks.extend(prompts.iter().take(limit).map(|prompt| Task::new(prompt, style)));
    }
    Ok(tasks)
}

/// Parses PartiPrompts: tab-separated, without quoting (some prompts contain quotation marks).
fn parti(text: &str) -> Result<Vec<Task>> {
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split('\t').map(str::trim).collect();
    ensure!(header.starts_with(&["Prompt", "Category"]), "the first two columns are not Prompt and Category");
    lines
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
        .map(|(i, line)| {
            let mut columns = line.split('\t');
            match (columns.next(), columns.next()) {
                (Some(prompt), Some(category)) => Ok(Task::new(prompt, category.trim())),
                _ => bail!("line {} has no category", i + 2),
            }
        })
        .collect()
}

/// Lines that an error names.
const NAMED_LINES: usize = 5;

/// Parses one JSON object per line: the prompt, and optionally a category. Other keys are ignored.
fn json_lines(text: &str) -> Result<Vec<Task>> {
    let (mut tasks, mut unusable) = (Vec::new(), Vec::new());
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let read = JsonRow::parse(line.as_bytes()).and_then(|row| {
            let prompt = row.text(&["prompt", "caption", "text"], Reason::NoPrompt)?;
            let category = match row.get(&["category"]) {
                Some(_) => row.text(&["category"], Reason::WrongType)?,
                None => "",
            };
            Ok(Task::new(prompt, category))
        });
        match read {
            Ok(task) => tasks.push(task),
            Err((_, problem)) => unusable.push(format!("line {} {problem}", i + 1)),
        }
    }
    let others = unusable.len().saturating_sub(NAMED_LINES);
    let more = if others == 0 { String::new() } else { format!(", and {others} more") };
    unusable.truncate(NAMED_LINES);
    ensure!(unusable.is_empty(), "{}{more}: remove or complete these lines", unusable.join("; "));
    Ok(tasks)
}

#[cfg(test)]
mod tests {
    use super::{json_lines, parti, tasks};
    use domain::evaluate::PromptSpec;

    #[test]
    fn prompts_and_categories_of_every_source() {
        let folder = tempfile::tempdir().expect("a folder");
        for style in super::STYLES {
            std::fs::write(folder.path().join(format!("{style}.json")), r#"["one", "two"]"#)
                .expect("written");
        }
        let path = folder.path().display().to_string();
        let hps = tasks(&PromptSpec::HpsBenchmark { folder: path.clone(), per_style: Some(1) }, &[])
            .expect("prompts");
        let seen: Vec<_> = hps.iter().map(|t| (t.category.as_str(), t.prompt.as_str())).collect();
        assert_eq!(seen, [("anime", "one"), ("concept-art", "one"), ("paintings", "one"), ("photo", "one")]);

        let text =
            "Prompt\tCategory\tChallenge\tNote\n a \"raw\" quote \tAnimals\tBasic\t\nb\tArts\tBasic\tn\n";
        let parti = parti(text).expect("prompts");
        assert_eq!((parti[0].prompt.as_str(), parti[0].category.as_str()), ("a \"raw\" quote", "Animals"));
        assert_eq!(parti.len(), 2);

        let lines =
            json_lines("{\"prompt\": \"x\", \"category\": \"c\"}\n\n{\"prompt\": \"y\"}\n").expect("two");
        assert_eq!((lines[0].category.as_str(), lines[1].category.as_str()), ("c", ""));
        let further =
            "{\"tag\": \"single_object\", \"include\": [{\"count\": NaN}], \"prompt\": \"a bench\"}";
        assert_eq!(json_lines(further).expect("one")[0].prompt, "a bench");
        let missing = "{\"tag\": 1}\n{\"prompt\": \"x\"}\n\n{\"prompt\": 5}\n";
        let problem = format!("{:#}", json_lines(missing).expect_err("no prompt"));
        assert_eq!(
            problem,
            "line 1 has no prompt or caption or text; line 4 prompt is a number, and must be text: remove or complete \
             these lines"
        );

        let file = format!("{path}/marked.jsonl");
        std::fs::write(&file, "\u{feff}{\"prompt\": \"one\"}\r\n").expect("written");
        assert_eq!(tasks(&PromptSpec::JsonLines { file }, &[]).expect("one")[0].prompt, "one");
        let file = format!("{path}/marked.tsv");
        std::fs::write(&file, "\u{feff}Prompt\tCategory\r\none\tArts\r\n").expect("written");
        assert_eq!(tasks(&PromptSpec::Parti { file, count: None }, &[]).expect("one")[0].category, "Arts");
        let file = format!("{path}/marked.txt");
        std::fs::write(&file, "\u{feff}a red circle\r\na blue square\r\n").expect("written");
        let marked = tasks(&PromptSpec::Text { file }, &[]).expect("two");
        let prompts: Vec<&str> = marked.iter().map(|task| task.prompt.as_str()).collect();
        assert_eq!(prompts, ["a red circle", "a blue square"]);

        let file = format!("{path}/prompts.txt");
        std::fs::write(&file, "one\n\n two \n").expect("written");
        assert_eq!(tasks(&PromptSpec::Text { file }, &[]).expect("two")[1].prompt, "two");
        assert!(tasks(&PromptSpec::Text { file: format!("{path}/none.txt") }, &[]).is_err());
    }
}
