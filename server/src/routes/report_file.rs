//! The response with a file of a report, of an evaluation or a study.

use axum::http::header;
use axum::response::{IntoResponse, Response};
use domain::evaluate::ReportFile;

/// Content-Security-Policy of reports. A report contains prompts and names that others wrote. Should one of them escape its
/// quoting, no script runs, nothing is fetched or sent, and the page has no access to this site.
const POLICY: &str = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'";

/// The page is shown; figures and scores are saved under a name that begins with `of`.
pub(super) fn report_file(file: ReportFile, of: &str, bytes: Vec<u8>) -> Response {
    let disposition = match file {
        ReportFile::Page => "inline".to_owned(),
        ReportFile::Figures | ReportFile::Scores => {
            format!("attachment; filename=\"{of}-{}\"", file.name())
        }
    };
    let headers = [
        (header::CONTENT_TYPE, file.media_type().to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
        (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        // Work that is tried again writes its report again.
        (header::CACHE_CONTROL, "private, no-cache".to_owned()),
    ];
    (headers, bytes).into_response()
}
