//! Lists of problems in messages.

/// The largest number of problems that a message names.
pub(super) const SHOWN: usize = 8;

/// The first problems, and the number of the remaining ones.
pub(super) fn join_first(problems: &[String]) -> String {
    let more = problems.len().saturating_sub(SHOWN);
    let shown = problems.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("; ");
    if more == 0 { shown } else { format!("{shown}; and {more} more") }
}
