//! Invitations: links that open the desk of one campaign.

use crate::db::{Store, micros, with_db, write_db};
use crate::error::StoreError;
use domain::Timestamp;
use domain::api::Invitation;
use domain::id::{CampaignId, InvitationId};
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct InvitationRow {
    id: Uuid,
    label: String,
    created_at: Timestamp,
    ends_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

impl From<InvitationRow> for Invitation {
    fn from(row: InvitationRow) -> Self {
        Self {
            id: InvitationId(row.id),
            label: row.label,
            created_at: row.created_at,
            ends_at: row.ends_at,
            revoked_at: row.revoked_at,
        }
    }
}

impl Store {
    /// Inserts an invitation to a campaign. `token_sha256`: hash of the token of its link.
    pub async fn insert_invitation(
        &self,
        campaign: CampaignId,
        invitation: &Invitation,
        token_sha256: &str,
    ) -> Result<(), StoreError> {
        write_db!(self, pool => sqlx::query(
            "INSERT INTO campaign_invitations (id, campaign_id, token_sha256, label, created_at, ends_at) \
             VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(invitation.id.0)
            .bind(campaign.0)
            .bind(token_sha256)
            .bind(&invitation.label)
            .bind(micros(invitation.created_at))
            .bind(invitation.ends_at.map(micros))
            .execute(pool)
            .await
            .map(drop)?);
        Ok(())
    }

    /// Lists the invitations of a campaign, newest first.
    pub async fn list_invitations(&self, campaign: CampaignId) -> Result<Vec<Invitation>, StoreError> {
        let rows: Vec<InvitationRow> = with_db!(self, pool => sqlx::query_as(
            "SELECT id, label, created_at, ends_at, revoked_at FROM campaign_invitations \
             WHERE campaign_id = $1 ORDER BY id DESC")
            .bind(campaign.0)
            .fetch_all(pool)
            .await?);
        Ok(rows.into_iter().map(Invitation::from).collect())
    }

    /// Revokes an invitation: its link opens nothing from now on. No effect if it is revoked.
    ///
    /// # Errors
    /// Fails with `Missing` if the campaign has no such invitation.
    pub async fn revoke_invitation(
        &self,
        campaign: CampaignId,
        id: InvitationId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let found = write_db!(self, pool => sqlx::query(
            "UPDATE campaign_invitations SET revoked_at = COALESCE(revoked_at, $3) WHERE campaign_id = $1 AND id = $2")
            .bind(campaign.0)
            .bind(id.0)
            .bind(micros(now))
            .execute(pool)
            .await?
            .rows_affected());
        if found == 0 { Err(StoreError::Missing("invitation of this campaign")) } else { Ok(()) }
    }

    /// The campaign whose desk the link of this token opens; none if it was revoked, has ended, or never existed.
    pub async fn invited_to(
        &self,
        token_sha256: &str,
        now: Timestamp,
    ) -> Result<Option<CampaignId>, StoreError> {
        let row: Option<Uuid> = with_db!(self, pool => sqlx::query_scalar(
            "SELECT campaign_id FROM campaign_invitations \
             WHERE token_sha256 = $1 AND revoked_at IS NULL AND (ends_at IS NULL OR ends_at > $2)")
            .bind(token_sha256)
            .bind(micros(now))
            .fetch_optional(pool)
            .await?);
        Ok(row.map(CampaignId))
    }
}
