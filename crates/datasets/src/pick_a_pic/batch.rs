//! Some rows of a row group, read column by column.

use super::column::{Column, Values};
use super::label::{Label, label};
use crate::pair::{PreferencePair, Row};
use bytes::Bytes;
use domain::dataset::{Reason, Source};
use parquet::errors::{ParquetError, Result as ParquetResult};
use std::panic::resume_unwind;

/// A column that holds another type of values.
#[derive(Debug, thiserror::Error)]
#[error("column {column} holds {found}: {expected} are expected")]
pub(super) struct WrongType {
    column: &'static str,
    found: &'static str,
    expected: &'static str,
}

/// The open columns of a row group. Optional columns may be absent.
pub(super) struct OpenColumns {
    pub(super) caption: Column,
    pub(super) labels: [Column; 2],
    pub(super) images: [Column; 2],
    pub(super) models: [Option<Column>; 2],
    pub(super) has_label: Option<Column>,
    /// Whether both image columns are read at the same time, each by its own thread. They are nearly all of a file.
    pub(super) parallel_images: bool,
}

/// Values of consecutive rows, by column.
pub(super) struct Batch {
    captions: Vec<Option<Bytes>>,
    labels: [Vec<Option<f64>>; 2],
    images: [Vec<Option<Bytes>>; 2],
    models: [Option<Vec<Option<Bytes>>>; 2],
    has_label: Option<Vec<Option<bool>>>,
}

impl OpenColumns {
    /// Reads the next `count` rows.
    pub(super) fn read(&mut self, count: usize) -> ParquetResult<Batch> {
        let [label_0, label_1] = &mut self.labels;
        let [model_0, model_1] = &mut self.models;
        Ok(Batch {
            captions: bytes(&mut self.caption, "caption", count)?,
            labels: [numbers(label_0, "label_0", count)?, numbers(label_1, "label_1", count)?],
            images: images(&mut self.images, count, self.parallel_images)?,
            models: [
                model_0.as_mut().map(|column| bytes(column, "model_0", count)).transpose()?,
                model_1.as_mut().map(|column| bytes(column, "model_1", count)).transpose()?,
            ],
            has_label: self.has_label.as_mut().map(|column| flags(column, "has_label", count)).transpose()?,
        })
    }
}

impl Batch {
    /// Row `index` of the batch. `only_models` are parts of model names in lower case; if there are any, both models
    /// have to match one.
    pub(super) fn row(&self, index: usize, only_models: &[String], source: Source) -> Row {
        let has_label = self.has_label.as_ref().and_then(|flags| flags[index]);
        let second_wins = match label(has_label, [self.labels[0][index], self.labels[1][index]]) {
            Label::First => false,
            Label::Second => true,
            Label::None(reason, detail) => return Row::dropped(reason, source, detail),
        };
        let prompt = match self.captions[index].as_deref().map(std::str::from_utf8) {
            Some(Ok(prompt)) if !prompt.trim().is_empty() => prompt.to_owned(),
            Some(Err(_)) => return Row::dropped(Reason::NoPrompt, source, "the caption is not UTF-8"),
            _ => return Row::dropped(Reason::NoPrompt, source, "the caption is null or empty"),
        };
        let [first, second] = [0, 1].map(|side| {
            let models = self.models[side].as_ref()?;
            models[index].as_deref().map(|name| String::from_utf8_lossy(name).into_owned())
        });
        let wanted = |model: &Option<String>| {
            let model = model.as_deref().unwrap_or_default().to_lowercase();
            only_models.iter().any(|word| model.contains(word))
        };
        if !only_models.is_empty() && (!wanted(&first) || !wanted(&second)) {
            let name = |model: Option<String>| model.unwrap_or_else(|| "an unnamed model".to_owned());
            let detail = format!("the images are by {} and {}", name(first), name(second));
            return Row::dropped(Reason::OtherModel, source, detail);
        }
        let image = |side: usize| self.images[side][index].clone().filter(|bytes| !bytes.is_empty());
        let (Some(first_image), Some(second_image)) = (image(0), image(1)) else {
            return Row::dropped(Reason::MissingImage, source, "jpg_0 or jpg_1 is null or empty");
        };
        let (winner, loser, models) = match second_wins {
            false => (first_image, second_image, [first, second]),
            true => (second_image, first_image, [second, first]),
        };
        Row::Pair(PreferencePair { prompt, winner, loser: Some(loser), models, source, list: None })
    }
}

fn images(
    [first, second]: &mut [Column; 2],
    count: usize,
    parallel: bool,
) -> ParquetResult<[Vec<Option<Bytes>>; 2]> {
    let mut first = || bytes(first, "jpg_0", count);
    let mut second = || bytes(second, "jpg_1", count);
    if !parallel {
        return Ok([first()?, second()?]);
    }
    std::thread::scope(|scope| {
        let first = scope.spawn(first);
        let second = second();
        Ok([first.join().unwrap_or_else(|panic| resume_unwind(panic))?, second?])
    })
}

fn bytes(column: &mut Column, name: &'static str, count: usize) -> ParquetResult<Vec<Option<Bytes>>> {
    match column.read(count)? {
        Values::Bytes(values) => exactly(name, values, count),
        other => wrong_type(name, &other, "bytes"),
    }
}

/// Numbers; true counts as 1 and false as 0.
fn numbers(column: &mut Column, name: &'static str, count: usize) -> ParquetResult<Vec<Option<f64>>> {
    match column.read(count)? {
        Values::Numbers(values) => exactly(name, values, count),
        Values::Flags(flags) => {
            let numbers = flags.into_iter().map(|flag| flag.map(|flag| f64::from(u8::from(flag))));
            exactly(name, numbers.collect(), count)
        }
        other => wrong_type(name, &other, "the numbers 0, 0.5 and 1, or true and false,"),
    }
}

/// True and false; 1 counts as true and 0 as false.
fn flags(column: &mut Column, name: &'static str, count: usize) -> ParquetResult<Vec<Option<bool>>> {
    let values = column.read(count)?;
    let flags = match &values {
        Values::Flags(flags) => Some(flags.clone()),
        Values::Numbers(numbers) => {
            let of = |number: &Option<f64>| match number {
                None => Some(None),
                Some(number) => {
                    [0.0f64, 1.0].iter().position(|n| n.total_cmp(number).is_eq()).map(|at| Some(at == 1))
                }
            };
            numbers.iter().map(of).collect()
        }
        Values::Bytes(_) => None,
    };
    match flags {
        Some(flags) => exactly(name, flags, count),
        None => wrong_type(name, &values, "true and false, or 1 and 0,"),
    }
}

fn wrong_type<T>(column: &'static str, values: &Values, expected: &'static str) -> ParquetResult<T> {
    let found = match values {
        Values::Bytes(_) => "text or bytes",
        Values::Numbers(_) => "numbers",
        Values::Flags(_) => "true and false",
    };
    Err(ParquetError::External(Box::new(WrongType { column, found, expected })))
}

/// Fails if a column ended before `count` values.
fn exactly<T>(name: &str, values: Vec<T>, count: usize) -> ParquetResult<Vec<T>> {
    if values.len() == count {
        return Ok(values);
    }
    let problem = format!("column {name} ends after {} of {count} rows", values.len());
    Err(ParquetError::General(problem))
}
