//! The files of a split, selected by their names and folders as the `datasets` package does: a file belongs to the split
//! whose name stands between separators in its name (`train-00000-of-00645.parquet`, `pickapic_validation_0.parquet`), else
//! in the name of its folder (`default/train/0000.parquet`, the hub's own conversion).

use crate::error::ReadError;
use crate::image_files::{self, ending, litter, require_folder};
use crate::pair::FileLeftOut;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The split of a spec that names none. A set without splits is read whole.
pub(crate) const DEFAULT: &str = "train";
/// The folder of published sets that contains their files.
const DATA: &str = "data";
/// Words for a split, the split's name first: those of `datasets`.
const SPLITS: [&[&str]; 3] = [
    &["train", "training"],
    &["validation", "valid", "val", "dev"],
    &["test", "testing", "eval", "evaluation"],
];

/// The files of a split, sorted by name, and the set's other files of the same kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) left_out: Vec<FileLeftOut>,
}

/// The files with an extension in a folder that belong to a split: those of the folder itself, else those of its subfolder
/// `data`, else those of all subfolders.
///
/// # Errors
/// Fails if the folder cannot be listed or has no such files.
pub(crate) fn find(folder: &Path, extension: &str, split: Option<&str>) -> Result<Chosen, ReadError> {
    require_folder(folder)?;
    let files = image_files::files(folder)?;
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    among(folder, extension, &files, split).map_err(|problem| ReadError::format(folder, problem))
}

/// As [`find`], among the given files; the error says why there are none.
pub(crate) fn among(
    folder: &Path,
    extension: &str,
    files: &[&Path],
    split: Option<&str>,
) -> Result<Chosen, String> {
    let below = |file: &Path| file.strip_prefix(folder).ok().map(Path::to_owned);
    let of_kind = files.iter().filter(|file| ending(file) == extension);
    let mut names: Vec<PathBuf> = of_kind.filter_map(|file| below(file)).collect();
    names.retain(|name| litter(name).is_none());
    names.sort_unstable();
    let in_folder = |of: &Path| names.iter().filter(|name| name.parent() == Some(of)).cloned().collect();
    let mut found: Vec<PathBuf> = in_folder(Path::new(""));
    if found.is_empty() {
        found = in_folder(Path::new(DATA));
    }
    if found.is_empty() {
        found.clone_from(&names);
    }
    if found.is_empty() {
        return Err(format!("holds no .{extension} file, and neither do its subfolders"));
    }
    let found = of_one_configuration(found)?;
    let chosen = of_split(&found, split)?;
    let reason = |name: &PathBuf| match split_of(name) {
        Some(split) => format!("it is of the split {split}"),
        None if found.contains(name) => "it is of no split".to_owned(),
        None => "it is in another folder than the files that are read".to_owned(),
    };
    let others = names.iter().filter(|name| !chosen.contains(name));
    let left_out = others.map(|name| FileLeftOut::new(Path::new(""), name, reason(name))).collect();
    Ok(Chosen { files: chosen.iter().map(|name| folder.join(name)).collect(), left_out })
}

/// The files of one configuration, where the hub's conversion has several: `CONFIGURATION/SPLIT/0000.parquet`.
fn of_one_configuration(files: Vec<PathBuf>) -> Result<Vec<PathBuf>, String> {
    let configuration = |file: &PathBuf| {
        let parts: Vec<String> = file.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        match &parts[..] {
            [configuration, split, _] if canonical(split).is_some() => Some(configuration.clone()),
            _ => None,
        }
    };
    let all: BTreeSet<String> = files.iter().filter_map(configuration).collect();
    if all.len() < 2 {
        return Ok(files);
    }
    if all.contains("default") {
        return Ok(files
            .into_iter()
            .filter(|file| configuration(file).as_deref() == Some("default"))
            .collect());
    }
    let all = all.into_iter().collect::<Vec<_>>().join(", ");
    Err(format!("holds several configurations ({all}): name the folder of one as data.folder"))
}

/// The files of a split.
fn of_split(files: &[PathBuf], split: Option<&str>) -> Result<Vec<PathBuf>, String> {
    let of = |wanted: &dyn Fn(&Path) -> bool| -> Vec<PathBuf> {
        files.iter().filter(|file| wanted(file)).cloned().collect()
    };
    let splits: BTreeSet<String> = files.iter().filter_map(|file| split_of(file)).collect();
    let listed = splits.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    if let Some(split) = split {
        let exact = of(&|file| split_of(file).as_deref() == Some(split));
        let (wanted, words) = (canonical(split), words(split));
        let found = match wanted {
            _ if !exact.is_empty() => exact,
            // A word for a split, as `dev`.
            Some(wanted) if words.len() == 1 => of(&|file| canonical_of(file) == Some(wanted)),
            _ => of(&|file| names_of(file).iter().any(|name| contains(name, &words))),
        };
        return match found.is_empty() {
            false => Ok(found),
            true if listed.is_empty() => {
                Err(format!("has no split {split:?}, and its files name none: remove data.split to read all"))
            }
            true => Err(format!("has no split {split:?}: use one of {listed}")),
        };
    }
    let train = of(&|file| canonical_of(file) == Some(DEFAULT));
    let without = of(&|file| canonical_of(file).is_none());
    let canonical: BTreeSet<_> = files.iter().filter_map(|file| canonical_of(file)).collect();
    match canonical.len() {
        _ if !train.is_empty() => Ok(train),
        _ if !without.is_empty() => Ok(without),
        // There is nothing that it could be mistaken for.
        1 => Ok(files.to_vec()),
        _ => Err(format!("has no split train: name one of {listed} as data.split")),
    }
}

/// The split of a file as a spec names it: in its name what precedes the number of the file if that has the name of a split
/// (`validation_unique-00000-of-00001`), else the split's own name. `None` if no name tells.
fn split_of(file: &Path) -> Option<String> {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let label = stem.split('-').next().unwrap_or_default();
    let label = label.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '_' | '.'));
    let starts_with_split =
        words(label).first().is_some_and(|word| SPLITS.iter().any(|split| split.contains(&word.as_str())));
    if starts_with_split {
        return Some(if words(label).len() == 1 { canonical(label)?.to_owned() } else { label.to_owned() });
    }
    canonical_of(file).map(str::to_owned)
}

/// The split that a file's name tells, or else the name of the nearest folder that tells one.
fn canonical_of(file: &Path) -> Option<&'static str> {
    names_of(file).iter().find_map(|name| canonical(&name.join("-")))
}

/// The words of a file's name and of its folders' names, the nearest first.
fn names_of(file: &Path) -> Vec<Vec<String>> {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let folders = file.parent().into_iter().flat_map(Path::iter).map(|part| words(&part.to_string_lossy()));
    let mut names: Vec<Vec<String>> = folders.chain([words(&stem)]).collect();
    names.reverse();
    names
}

/// The split that the words of a name tell, by its first such word.
fn canonical(name: &str) -> Option<&'static str> {
    let of = |word: &String| SPLITS.iter().find(|split| split.contains(&word.as_str())).map(|split| split[0]);
    words(name).iter().find_map(of)
}

/// The split that is the whole name of a folder.
pub(crate) fn named(name: &str) -> Option<&'static str> {
    canonical(name).filter(|_| words(name).len() == 1)
}

/// The words of a name in lower case: what is between separators and numbers.
fn words(name: &str) -> Vec<String> {
    let words = name.split(|c: char| matches!(c, '-' | '_' | '.' | ' ' | '/') || c.is_ascii_digit());
    words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

fn contains(name: &[String], words: &[String]) -> bool {
    !words.is_empty() && name.windows(words.len()).any(|window| window == words)
}

#[cfg(test)]
mod tests {
    use super::{among, canonical};
    use std::path::Path;

    /// The names of the chosen files, or the problem.
    fn chosen(files: &[&str], split: Option<&str>) -> Result<Vec<String>, String> {
        let paths: Vec<&Path> = files.iter().map(|file| Path::new(*file)).collect();
        let chosen = among(Path::new(""), "parquet", &paths, split)?;
        assert_eq!(chosen.files.len() + chosen.left_out.len(), files.len(), "every file is accounted for");
        Ok(chosen.files.iter().map(|file| file.to_string_lossy().into_owned()).collect())
    }

    #[test]
    fn a_split_is_found_between_any_separators() {
        for (name, split) in [
            ("pickapic_train_0", "train"),
            ("pickapic_validation_0", "validation"),
            ("train-00000-of-00001-0123456789abcdef", "train"),
            ("my.val", "validation"),
            ("set-dev-1", "validation"),
            ("Valid", "validation"),
            ("a test", "test"),
            ("train0", "train"),
            ("eval_3", "test"),
        ] {
            assert_eq!(canonical(name), Some(split), "{name}");
        }
        for name in ["latest", "contrastive", "trainee", "devices", "0000", "votes"] {
            assert_eq!(canonical(name), None, "{name}");
        }
    }

    #[test]
    fn training_reads_no_file_of_another_split() {
        let training = |files: &[&str]| chosen(files, None).expect("files");
        assert_eq!(
            training(&["pickapic_train_0.parquet", "pickapic_validation_0.parquet"]),
            ["pickapic_train_0.parquet"]
        );
        assert_eq!(training(&["a.parquet", "a_val.parquet", "a_test.parquet"]), ["a.parquet"]);
        assert_eq!(training(&["data/train.parquet", "data/test.parquet"]), ["data/train.parquet"]);
        assert_eq!(
            training(&["default/train/0000.parquet", "default/validation/0000.parquet"]),
            ["default/train/0000.parquet"]
        );
        assert_eq!(training(&["train/0.parquet", "val/0.parquet"]), ["train/0.parquet"]);
        assert_eq!(
            training(&["default/train/0.parquet", "other/train/0.parquet"]),
            ["default/train/0.parquet"]
        );
        assert_eq!(training(&["b.parquet", "a.parquet"]), ["a.parquet", "b.parquet"]);
        assert_eq!(
            training(&["x.PARQUET", "y.txt.parquet", "sub/z.parquet"]),
            ["x.PARQUET", "y.txt.parquet"]
        );
        assert_eq!(training(&["validation-0.parquet", "validation-1.parquet"]).len(), 2);
        let problem = chosen(&["validation.parquet", "test.parquet"], None).expect_err("no split");
        assert!(problem.contains("test, validation"), "{problem}");
        let problem = chosen(&["a/train/0.parquet", "b/train/0.parquet"], None).expect_err("two");
        assert!(problem.contains("a, b") && problem.contains("data.folder"), "{problem}");
    }

    #[test]
    fn a_named_split_is_read_alone() {
        let published = [
            "data/train-00000-of-00645-abc.parquet",
            "data/validation-00000-of-00014-abc.parquet",
            "data/validation_unique-00000-of-00001-abc.parquet",
        ];
        let of = |split: &str| chosen(&published, Some(split));
        assert_eq!(of("validation").expect("files"), published[1..2]);
        assert_eq!(of("validation_unique").expect("files"), published[2..]);
        let problem = of("test").expect_err("no such split");
        assert!(problem.contains("train, validation, validation_unique"), "{problem}");
        let others = ["pickapic_train_0.parquet", "pickapic_dev_unique_0.parquet"];
        assert_eq!(chosen(&others, Some("validation")).expect("files"), others[1..]);
        assert_eq!(chosen(&others, Some("dev_unique")).expect("files"), others[1..]);
        let problem = chosen(&["a.parquet"], Some("train")).expect_err("no such split");
        assert!(problem.contains("remove data.split"), "{problem}");
    }
}
