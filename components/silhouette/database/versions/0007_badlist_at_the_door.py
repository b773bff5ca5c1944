"""Let who brings pictures in see the badlist, so that what is on it stays outside.

Rights: `silhouette_ingest` reads the list and never changes it. As in 0006, `grant_step_rights` grants it again.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Grant it."""
    op.execute("ALTER PROCEDURE grant_step_rights() RENAME TO grant_step_rights_before_badlist")
    op.execute(
        """
        CREATE PROCEDURE grant_step_rights() LANGUAGE plpgsql AS $$ BEGIN
            CALL grant_step_rights_before_badlist();
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'silhouette_ingest') THEN
                GRANT SELECT ON badlist TO silhouette_ingest;
            END IF;
        END $$
        """
    )
    op.execute("CALL grant_step_rights()")


def downgrade() -> None:
    """Take the right away."""
    op.execute("DROP PROCEDURE grant_step_rights()")
    op.execute("ALTER PROCEDURE grant_step_rights_before_badlist() RENAME TO grant_step_rights")
    op.execute(
        """
        DO $$ BEGIN
            IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'silhouette_ingest') THEN
                REVOKE SELECT ON badlist FROM silhouette_ingest;
            END IF;
        END $$
        """
    )
