"""The ledger of what was sent back to the picture service: a row before a document is sent, its receipt after.

Rights: who brings pictures in from the service (``silhouette_ingest``) sends back to it, with ``silhouette_read`` for
what a document is made of. They join the others in `grant_step_rights`, which an administrator may have to call.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

RIGHTS = {
    "silhouette_ingest": ("SELECT, INSERT ON ret_meta_posts", "UPDATE (ended_at, receipt, failure) ON ret_meta_posts"),
    "silhouette_review": ("SELECT ON ret_meta_posts",),
    "silhouette_read": ("SELECT ON ret_meta_posts",),
}


def upgrade() -> None:
    """Create the ledger and grant it."""
    op.execute(
        """
        CREATE TABLE ret_meta_posts (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            service text NOT NULL,
            picture_id text NOT NULL CHECK (octet_length(picture_id) <= 1500),
            content_digest text NOT NULL CHECK (content_digest ~ '^[0-9a-f]{64}$'),
            begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            ended_at timestamptz,
            receipt text NOT NULL DEFAULT '',
            failure text NOT NULL DEFAULT '',
            CONSTRAINT ret_meta_posts_end CHECK (
                CASE WHEN ended_at IS NULL THEN receipt = '' AND failure = '' ELSE (receipt = '') <> (failure = '') END
            )
        )
        """
    )
    op.execute("COMMENT ON TABLE ret_meta_posts IS 'what was sent back to the picture service; the latest row counts'")
    op.execute("COMMENT ON COLUMN ret_meta_posts.ended_at IS 'NULL: not known to have arrived; the service is asked'")
    op.execute("COMMENT ON COLUMN ret_meta_posts.receipt IS 'of the service'")
    op.execute("COMMENT ON COLUMN ret_meta_posts.failure IS 'why the service did not take it'")
    op.execute("CREATE INDEX ret_meta_posts_latest ON ret_meta_posts (picture_id, service, id DESC)")
    op.execute("ALTER PROCEDURE grant_step_rights() RENAME TO grant_step_rights_before_ret_meta")
    op.execute(
        f"""
        CREATE PROCEDURE grant_step_rights() LANGUAGE plpgsql AS $$ BEGIN
            CALL grant_step_rights_before_ret_meta();
            {_granted()}
        END $$
        """
    )
    op.execute("CALL grant_step_rights()")


def _granted() -> str:
    return "".join(
        f"""
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
            {" ".join(f"GRANT {right} TO {role};" for right in rights)}
        END IF;
        """
        for role, rights in RIGHTS.items()
    )


def downgrade() -> None:
    """Drop the ledger: what the service has, it still tells."""
    op.execute("DROP PROCEDURE grant_step_rights()")
    op.execute("ALTER PROCEDURE grant_step_rights_before_ret_meta() RENAME TO grant_step_rights")
    op.execute("DROP TABLE ret_meta_posts")
