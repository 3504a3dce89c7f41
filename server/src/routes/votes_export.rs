//! Export of votes as a dataset.

use crate::error::ApiError;
use crate::extract::Query;
use crate::routes::file_schema::File;
use crate::routes::withheld::shown;
use crate::state::AppState;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use datasets::votes::{JudgedPair, hpd_line, json_line, judged_pairs, rapidata_line, write_parquet};
use domain::Timestamp;
use domain::api::{ErrorBody, path};
use domain::data::{VotesPer, VotesSpec};
use domain::preference::Question;
use serde::Deserialize;
use std::io::{self, Write};
use store::Artifacts;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tracing::Span;

/// Chunks of a body that are buffered for a slow client.
const BUFFERED_CHUNKS: usize = 8;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportQuery {
    /// `parquet` has the columns of Pick-a-Pic and contains the images. The others are lines of JSON with the addresses of the images:
    /// `jsonl` with the columns of Pick-a-Pic, `rapidata` with those of Rapidata's preference sets, whose shares are soft labels, and
    /// `hpd` with those of HPD v2.
    #[serde(default)]
    #[param(default = "parquet")]
    format: Format,
    /// One row per `pair` of images, labelled by the majority of its votes, or one row per `vote`.
    #[serde(default)]
    #[param(default = "pair")]
    per: VotesPer,
    /// The question that the raters answered.
    #[serde(default)]
    #[param(default = "overall")]
    question: Question,
    /// Only pairs whose two models are both in this list of names, separated by commas.
    models: Option<String>,
    /// Only votes cast at this time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Only votes cast before this time.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// `keep` exports ties with the labels 0.5 and 0.5; `drop` leaves them out.
    #[serde(default)]
    #[param(default = "keep")]
    ties: Ties,
}

/// File format of an export.
#[derive(Clone, Copy, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    #[default]
    Parquet,
    Jsonl,
    Rapidata,
    Hpd,
}

/// Whether an export has rows for ties.
#[derive(Clone, Copy, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ties {
    #[default]
    Keep,
    Drop,
}

/// Export votes as a dataset
///
/// The columns are those of Pick-a-Pic, so that any trainer for Pick-a-Pic can read the file. Pairs with an image by a model that
/// a campaign judges are left out until it is closed.
#[utoipa::path(get, path = path::VOTES_EXPORT, tag = "judging", operation_id = "export_votes", params(ExportQuery), responses(
    (status = 200, description = "The file, streamed while it is written.",
        content((File = "application/vnd.apache.parquet"), (String = "application/x-ndjson"))),
    (status = 503, description = "Too many exports are running. `Retry-After` says when to retry.", body = ErrorBody)))]
pub(crate) async fn export(
    State(state): State<AppState>,
    Query(query): Query<ExportQuery>,
) -> Result<Response, ApiError> {
    let names = query.models.as_deref().unwrap_or_default().split(',').map(str::trim);
    let spec = VotesSpec {
        per: query.per,
        question: query.question,
        models: names.filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        since: query.since,
        until: query.until,
        prompt_filter: None,
    };
    let mut pairs =
        shown(&state, judged_pairs(&state.store.judged_votes(spec.question).await?, &spec)).await?;
    if matches!(query.ties, Ties::Drop) {
        pairs.retain(|pair| !pair.is_tie());
    }
    let (kind, name, body) = match query.format {
        Format::Parquet => {
            let permit = state.exports.permit().await?;
            let body = parquet(state.artifacts, pairs, permit);
            ("application/vnd.apache.parquet", "votes.parquet", body)
        }
        Format::Jsonl | Format::Rapidata | Format::Hpd => {
            let address = |image: &domain::preference::JudgedImage| {
                path::IMAGE_FILE.replace("{id}", &image.id.to_string())
            };
            let line = |pair: &JudgedPair| match query.format {
                Format::Rapidata => rapidata_line(pair, address),
                Format::Hpd => hpd_line(pair, address),
                Format::Parquet | Format::Jsonl => json_line(pair, address),
            };
            let lines: String = pairs.iter().map(line).collect();
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

/// A body that streams the file while it is written, one row group at a time. The permit is held until it is written or
/// the client has left.
fn parquet(artifacts: Artifacts, pairs: Vec<JudgedPair>, permit: OwnedSemaphorePermit) -> Body {
    let (sender, receiver) = channel(BUFFERED_CHUNKS);
    let (runtime, span) = (Handle::current(), Span::current());
    tokio::task::spawn_blocking(move || {
        let (_entered, _permit) = (span.entered(), permit);
        let fetch = |image: &domain::preference::JudgedImage| {
            if sender.is_closed() {
                return Err(io::Error::from(io::ErrorKind::BrokenPipe));
            }
            let bytes = runtime.block_on(artifacts.get(&image.artifact)).map_err(io::Error::other)?;
            bytes
                .map(Bytes::from)
                .ok_or_else(|| io::Error::other(format!("the file of image {} is missing", image.id)))
        };
        if let Err(error) = write_parquet(BodyWriter(sender.clone()), &pairs, fetch) {
            tracing::warn!(%error, "the export of votes failed");
            // Breaks the connection, so that the client does not take the partial file for a complete one.
            drop(sender.blocking_send(Err(error)));
        }
    });
    Body::from_stream(ReceiverStream::new(receiver))
}

/// Writes into the channel of a streamed body.
struct BodyWriter(Sender<io::Result<Bytes>>);

impl Write for BodyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let disconnected = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes))).map_err(disconnected)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
