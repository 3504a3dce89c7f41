//! Collects what is logged while a job runs, for the log of its run.

use domain::log::{LogLevel, LogLine};
use process::ambient::now;
use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines that wait to be written, at most. Beyond it the oldest are lost.
const WAITING: usize = 1000;
/// Longest message, in bytes.
const LONGEST: usize = 2000;

/// Lines of the current job; none while there is no job. A worker runs one job at a time, and events are global to the process.
static LINES: Mutex<Option<VecDeque<LogLine>>> = Mutex::new(None);

fn lines() -> MutexGuard<'static, Option<VecDeque<LogLine>>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Collects from now on.
pub(super) fn begin() {
    *lines() = Some(VecDeque::new());
}

/// Collects no longer. Returns what was not taken.
pub(super) fn end() -> Vec<LogLine> {
    lines().take().map(Vec::from).unwrap_or_default()
}

/// Takes what was collected.
pub(super) fn take() -> Vec<LogLine> {
    lines().as_mut().map(std::mem::take).map(Vec::from).unwrap_or_default()
}

/// Puts back what was taken but not written. What was collected meanwhile comes after it.
pub(super) fn put_back(taken: Vec<LogLine>) {
    if let Some(lines) = lines().as_mut() {
        let newer = std::mem::replace(lines, taken.into());
        newer.into_iter().for_each(|line| push(lines, line));
    }
}

fn push(lines: &mut VecDeque<LogLine>, line: LogLine) {
    if lines.len() >= WAITING {
        lines.pop_front();
    }
    lines.push_back(line);
}

/// The layer that collects: events of the level info and above.
#[derive(Debug)]
pub(crate) struct LogLayer;

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            Level::ERROR => LogLevel::Error,
            Level::WARN => LogLevel::Warn,
            Level::INFO => LogLevel::Info,
            _ => return,
        };
        let mut lines = lines();
        let Some(lines) = lines.as_mut() else { return };
        let mut text = Text::default();
        event.record(&mut text);
        push(lines, LogLine { line: 0, at: now(), level, message: text.cut() });
    }
}

/// The message of an event, then its fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn cut(self) -> String {
        let mut text = self.message + &self.fields;
        if text.len() > LONGEST {
            let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(end);
            text.push('…');
        }
        text
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::{LogLayer, WAITING, begin, end, put_back, take};
    use domain::log::LogLevel;
    use tracing_subscriber::layer::SubscriberExt;

    /// One test, because the lines are global to the process.
    #[test]
    fn lines_of_a_job_are_collected_in_order_and_bounded() {
        let subscriber = tracing_subscriber::registry().with(LogLayer);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("before the job");
            begin();
            tracing::info!(count = 3, "claimed");
            tracing::debug!("too fine");
            tracing::warn!("{}", "é".repeat(2000));
            let taken = take();
            assert_eq!(taken.len(), 2);
            assert_eq!((&*taken[0].message, taken[0].level), ("claimed count=3", LogLevel::Info));
            assert_eq!((taken[1].message.chars().count(), taken[1].level), (1001, LogLevel::Warn));
            tracing::error!("meanwhile");
            put_back(taken);
            assert_eq!(
                take().iter().map(|line| line.level.as_str()).collect::<Vec<_>>(),
                ["info", "warn", "error"]
            );
            for number in 0..WAITING + 2 {
                tracing::info!("{number}");
            }
            let rest = end();
            assert_eq!((rest.len(), &*rest[0].message), (WAITING, "2"));
            tracing::info!("after the job");
            assert!(take().is_empty());
        });
    }
}
