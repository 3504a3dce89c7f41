//! The `question` of judging routes.

use domain::preference::Question;
use serde::Deserialize;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct QuestionQuery {
    /// What raters are asked about the two images.
    #[serde(default)]
    #[param(default = "overall")]
    pub(crate) question: Question,
}
