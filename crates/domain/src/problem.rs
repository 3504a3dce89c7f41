//! Validation errors: which field is wrong, why, and what to do.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One invalid field.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Path of the field, as written in the body or config: `objective.beta`, `rewards.0.metric`.
    #[cfg_attr(feature = "openapi", schema(example = "objective.beta"))]
    pub field: String,
    /// What is wrong and what would be valid.
    #[cfg_attr(feature = "openapi", schema(example = "-1 is not a positive number"))]
    pub message: String,
}

/// Every problem of one input, in the order in which its fields were checked.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// The only problem of an input.
    #[must_use]
    pub fn one(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self(vec![Problem { field: field.into(), message: message.into() }])
    }

    /// Adds a problem.
    pub fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(Problem { field: field.to_owned(), message: message.into() });
    }

    /// Adds a problem unless `ok`.
    pub fn require(&mut self, ok: bool, field: impl AsRef<str>, message: impl Into<String>) {
        if !ok {
            self.add(field.as_ref(), message);
        }
    }

    /// Adds the problems of a part, whose fields are below `field`.
    pub(crate) fn extend_below(&mut self, field: &str, part: Self) {
        let below = |of: Problem| Problem { field: format!("{field}.{}", of.field), ..of };
        self.0.extend(part.0.into_iter().map(below));
    }

    /// Adds a problem unless the number is finite and greater than 0.
    pub(crate) fn require_positive(&mut self, number: f64, field: &str) {
        self.require(number.is_finite() && number > 0.0, field, format!("{number} is not a positive number"));
    }

    /// # Errors
    /// Returns the problems if there is at least one.
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
