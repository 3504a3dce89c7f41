//! Categories of prompts, as evaluations name them. A prompt is found by its SHA-256: an index on long texts is limited on Postgres.

use crate::db::{Store, in_transaction, with_db};
use crate::error::StoreError;
use files::sha256;
use sqlx::QueryBuilder;
use std::collections::HashMap;

/// Prompts of a statement.
const ROWS: usize = 500;

impl Store {
    /// Keeps the categories of prompts. A prompt that has one gets the new one.
    pub async fn put_prompt_categories(&self, categories: &[(&str, &str)]) -> Result<(), StoreError> {
        in_transaction!(self, tx => {
            for (prompt, category) in categories {
                sqlx::query(
                    "INSERT INTO prompt_categories (prompt_sha256, category) VALUES ($1, $2) \
                     ON CONFLICT (prompt_sha256) DO UPDATE SET category = EXCLUDED.category")
                    .bind(sha256::of_bytes(prompt.as_bytes()))
                    .bind(*category)
                    .execute(&mut *tx)
                    .await?;
            }
        });
        Ok(())
    }

    /// The categories of those prompts that have one.
    pub async fn prompt_categories(&self, prompts: &[&str]) -> Result<HashMap<String, String>, StoreError> {
        let mut found = HashMap::new();
        for prompts in prompts.chunks(ROWS) {
            let by_hash: HashMap<String, &str> =
                prompts.iter().map(|prompt| (sha256::of_bytes(prompt.as_bytes()), *prompt)).collect();
            let rows: Vec<(String, String)> = with_db!(self, pool => {
                let mut query = QueryBuilder::new(
                    "SELECT prompt_sha256, category FROM prompt_categories WHERE prompt_sha256 IN (");
                let mut list = query.separated(", ");
                by_hash.keys().for_each(|hash| { list.push_bind(hash); });
                query.push(")").build_query_as().fetch_all(pool).await?
            });
            found.extend(
                rows.into_iter()
                    .filter_map(|(hash, category)| Some(((*by_hash.get(&hash)?).to_owned(), category))),
            );
        }
        Ok(found)
    }
}
