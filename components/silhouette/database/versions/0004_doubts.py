"""How doubtful each segmentation is, so that reviewers see the most doubtful first without reading all people.

The columns are filled in by whoever prepares a review (`silhouette.database.doubts`), not by who segments: writing
contours costs what it did. A segmentation without them is not prepared yet; one that is done again starts anew.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

RIGHT = "UPDATE (least_score, largest_share, agreement, compared_to) ON segmentations"


def upgrade() -> None:
    """Add the columns, the order by doubt, and the right of reviewers to fill them in."""
    op.execute(
        """
        ALTER TABLE segmentations
            ADD COLUMN least_score real CHECK (least_score BETWEEN 0 AND 1),
            ADD COLUMN largest_share real CHECK (largest_share BETWEEN 0 AND 1),
            ADD COLUMN agreement real CHECK (agreement BETWEEN 0 AND 1),
            ADD COLUMN compared_to bigint NOT NULL DEFAULT 0,
            ADD COLUMN doubt real GENERATED ALWAYS AS (
                CASE WHEN largest_share IS NOT NULL
                THEN 1::real - coalesce(least_score, 0.5::real) * coalesce(agreement, 1::real) END
            ) STORED
        """
    )
    for column, comment in (
        ("least_score", "of the person found that the model is least sure of; NULL: it found nobody"),
        ("largest_share", "of the picture''s area, the largest box; 0: nobody; NULL: not prepared for review"),
        ("agreement", "least IoU of all people''s masks with what another model found; NULL: there is no other"),
        ("compared_to", "the last segmentation of the same picture that agreement knows; 0: none"),
        ("doubt", "1 - least_score * agreement; 0.5 stands for the score where nobody was found"),
    ):
        op.execute(f"COMMENT ON COLUMN segmentations.{column} IS '{comment}'")
    # partial: a new segmentation is not in it yet, and so is written as fast as before
    op.execute(
        """
        CREATE INDEX segmentations_by_doubt ON segmentations (model_digest, status, doubt, id)
        WHERE doubt IS NOT NULL
        """
    )
    # the procedure of before goes on being called by the one that an administrator calls
    op.execute("ALTER PROCEDURE grant_step_rights() RENAME TO grant_step_rights_0003")
    op.execute(
        f"""
        CREATE PROCEDURE grant_step_rights() LANGUAGE plpgsql AS $$ BEGIN
            CALL grant_step_rights_0003();
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'silhouette_review') THEN
                GRANT {RIGHT} TO silhouette_review;
            END IF;
        END $$
        """
    )
    op.execute("CALL grant_step_rights()")


def downgrade() -> None:
    """Drop the columns, and the rights on them with them; they can be computed again."""
    op.execute("DROP PROCEDURE grant_step_rights")
    op.execute("ALTER PROCEDURE grant_step_rights_0003() RENAME TO grant_step_rights")
    op.execute(
        """
        ALTER TABLE segmentations
            DROP COLUMN doubt, DROP COLUMN compared_to, DROP COLUMN agreement, DROP COLUMN largest_share,
            DROP COLUMN least_score
        """
    )
