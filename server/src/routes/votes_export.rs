//! Votes as a set that others can train on.

use crate::error::ApiError;
use crate::extract::Query;
use crate::state::AppState;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use datasets::votes::{JudgedPair, json_line, judged_pairs, write_parquet};
use domain::Timestamp;
use domain::api::{ErrorBody, path};
use domain::data::{VotesPer, VotesSpec};
use domain::preference::Question;
use serde::Deserialize;
use std::io::{self, Write};
use store::Artifacts;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;

/// Pieces of a body that may wait for a slow reader.
const WAITING: usize = 8;

/// Which votes, and how.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// `parquet` (the default: the columns of Pick-a-Pic, images inside) or `jsonl` (addresses in place of images).
    #[serde(default)]
    format: Format,
    /// `pair` (the default: what most raters said of two images) or `vote`.
    #[serde(default)]
    per: VotesPer,
    /// What the raters were asked: `overall` (the default), `appeal` or `alignment`.
    #[serde(default)]
    question: Question,
    /// Only pairs whose both models are among these names, with commas between them.
    models: Option<String>,
    /// Votes cast at this moment or later.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Votes cast before this moment.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// `keep` (the default: labels 0.5 and 0.5) or `drop`.
    #[serde(default)]
    ties: Ties,
}

#[derive(Clone, Copy, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    #[default]
    Parquet,
    Jsonl,
}

#[derive(Clone, Copy, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ties {
    #[default]
    Keep,
    Drop,
}

/// Votes as a set to train on
///
/// A row for two images, in the columns of Pick-a-Pic: any trainer that reads those reads it.
#[utoipa::path(get, path = path::VOTES_EXPORT, tag = "judging", params(Which), responses(
    (status = 200, content((Vec<u8> = "application/vnd.apache.parquet"), (String = "application/x-ndjson"))),
    (status = 400, body = ErrorBody)))]
pub(crate) async fn export(
    State(state): State<AppState>,
    Query(which): Query<Which>,
) -> Result<Response, ApiError> {
    let names = which.models.as_deref().unwrap_or_default().split(',').map(str::trim);
    let spec = VotesSpec {
        per: which.per,
        question: which.question,
        models: names.filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        since: which.since,
        until: which.until,
        prompt_filter: None,
    };
    let mut pairs = judged_pairs(&state.store.judged_votes(spec.question).await?, &spec);
    if matches!(which.ties, Ties::Drop) {
        pairs.retain(|pair| !pair.is_tie());
    }
    let (kind, name, body) = match which.format {
        Format::Parquet => {
            ("application/vnd.apache.parquet", "votes.parquet", parquet(state.artifacts, pairs))
        }
        Format::Jsonl => {
            let address = |image: &domain::preference::JudgedImage| {
                path::IMAGE_FILE.replace("{id}", &image.id.to_string())
            };
            let lines: String = pairs.iter().map(|pair| json_line(pair, address)).collect();
            ("application/x-ndjson", "votes.jsonl", Body::from(lines))
        }
    };
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, body).into_response())
}

/// The file as it is written, a row group at a time: it is never held whole.
fn parquet(artifacts: Artifacts, pairs: Vec<JudgedPair>) -> Body {
    let (sender, receiver) = channel(WAITING);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let fetch = |image: &domain::preference::JudgedImage| {
            let bytes = runtime.block_on(artifacts.get(&image.artifact)).map_err(io::Error::other)?;
            bytes.map(Bytes::from).ok_or_else(|| io::Error::other(format!("image {} is gone", image.id)))
        };
        if let Err(error) = write_parquet(Pipe(sender.clone()), &pairs, fetch) {
            tracing::warn!(%error, "the export of votes ended early");
            // The connection breaks, so that nobody takes the half for the whole.
            drop(sender.blocking_send(Err(error)));
        }
    });
    Body::from_stream(ReceiverStream::new(receiver))
}

/// Writes into a body.
struct Pipe(Sender<io::Result<Bytes>>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes))).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
