//! Forms that the server refused: their page shows the error and what was entered.

use crate::api::Failure;
use crate::components::note::FailureNote;
use domain::api::ErrorDetail;
use leptos::prelude::*;

/// A refused form. The server provides it in the context of the page.
#[derive(Clone, Debug)]
pub struct RefusedFields {
    /// Which form of the page.
    pub form: &'static str,
    /// The error.
    pub detail: ErrorDetail,
    /// The fields as entered.
    pub fields: Vec<(String, String)>,
}

impl RefusedFields {
    /// The refused form of this name, if it is the one.
    pub(crate) fn of(form: &str) -> Option<Self> {
        use_context::<Self>().filter(|refused| refused.form == form)
    }

    /// What was entered into a field.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone())
    }

    /// The error.
    pub(crate) fn note(&self) -> impl IntoView + use<> {
        let failure = Failure { status: 422, detail: self.detail.clone() };
        view! { <FailureNote failure /> }
    }
}
