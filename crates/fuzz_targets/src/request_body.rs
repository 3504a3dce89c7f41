use domain::api::{ComparisonRequest, GenerateRequest, MatchupRequest, VoteRequest};
use domain::image::GenerationParams;
use domain::job::JobSpec;
use domain::prepare::PrepareSpec;
use domain::style::StyleSpec;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The input is a JSON body: a generation, a job, a vote, a matchup, a comparison or a spec of `prepare` or `style`.
pub fn request_body(data: &[u8]) -> bool {
    read::<GenerateRequest>(data).is_some()
        || read::<MatchupRequest>(data).is_some()
        || read::<VoteRequest>(data).is_some()
        || read::<ComparisonRequest>(data).is_some_and(|request| request.validate().is_ok())
        || read::<GenerationParams>(data).is_some_and(|params| params.validate(8, 1024).is_ok())
        || read::<JobSpec>(data).is_some_and(|spec| spec.validate().is_ok())
        || read::<PrepareSpec>(data).is_some_and(|spec| spec.validate().is_ok())
        || read::<StyleSpec>(data).is_some_and(|spec| spec.validate().is_ok())
}

/// A body that can be read is stored as JSON, and reading that gives the same body.
fn read<T: Serialize + DeserializeOwned>(data: &[u8]) -> Option<T> {
    let body: T = serde_json::from_slice(data).ok()?;
    let written = serde_json::to_vec(&body).expect("a body is written");
    let again: T = serde_json::from_slice(&written)
        .unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(&written)));
    assert_eq!(serde_json::to_vec(&again).expect("a body is written"), written);
    Some(body)
}
