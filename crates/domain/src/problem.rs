//! What is wrong with an input: the field, what is wrong with it, and the remedy.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One field that cannot be accepted as it stands.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Path of the field, as written in the body or config (`objective.beta`).
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Every problem of one input, in the order of its fields.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Notes a problem.
    pub fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(Problem { field: field.to_owned(), message: message.into() });
    }

    /// Notes a problem unless `ok`.
    pub fn require(&mut self, ok: bool, field: impl AsRef<str>, message: impl Into<String>) {
        if !ok {
            self.add(field.as_ref(), message);
        }
    }

    /// # Errors
    /// The problems themselves, if there is one.
    pub fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, p) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{}: {}", p.field, p.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
