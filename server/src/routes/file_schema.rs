//! The schema of files in responses.

/// The contents of a file.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, format = Binary)]
pub(crate) struct File(#[expect(dead_code, reason = "exists for the OpenAPI document only")] Vec<u8>);
