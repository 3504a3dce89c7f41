//! The lock of a campaign's row: an answer counts before the campaign is closed, or not at all.

/// Fails with `Conflict::CampaignNotOpen` unless the campaign is open, and keeps it as it is until the transaction ends: the votes
/// of a campaign that is closed at the same time are all counted.
macro_rules! require_open {
    ($tx:ident, $campaign:expr) => {
        let open = sqlx::query("UPDATE campaigns SET state = state WHERE id = $1 AND state = 'open'")
            .bind($campaign)
            .execute(&mut *$tx)
            .await?
            .rows_affected();
        if open == 0 {
            return Err($crate::error::Conflict::CampaignNotOpen.into());
        }
    };
}
pub(crate) use require_open;
