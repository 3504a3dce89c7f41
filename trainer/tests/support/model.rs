//! The bundled model as a row.

use domain::id::ModelId;
use domain::model::Model;
use process::ambient::{entropy, now};
use std::path::Path;

/// A row of this name for the bundled model.
pub(crate) fn bundled(name: &str) -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/shapes");
    Model {
        id: ModelId::new(now(), entropy()),
        name: name.to_owned(),
        folder: folder.canonicalize().expect("the bundled model").display().to_string(),
        sha256: "bundled".to_owned(),
        base_id: None,
        run_id: None,
        step: None,
        objective: None,
        description: String::new(),
        created_at: now(),
    }
}
