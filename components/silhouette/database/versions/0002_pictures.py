"""Pictures as they came in at the door, and the quarantine of those that could not."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table and the view."""
    op.execute(
        """
        CREATE TABLE pictures (
            origin text NOT NULL,
            name text NOT NULL,
            picture_id text NOT NULL,
            stamp text NOT NULL,
            etag text NOT NULL,
            sha256 text NOT NULL CHECK (sha256 ~ '^([0-9a-f]{64})?$'),
            size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
            width integer NOT NULL CHECK (width >= 0),
            height integer NOT NULL CHECK (height >= 0),
            object_key text NOT NULL,
            working_key text NOT NULL,
            working_width integer NOT NULL CHECK (working_width >= 0),
            working_height integer NOT NULL CHECK (working_height >= 0),
            phash bigint NOT NULL,
            reason text NOT NULL,
            detail text NOT NULL,
            judged_by text NOT NULL,
            store_id text NOT NULL,
            fetched_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (origin, name),
            CHECK ((reason = '') = (object_key <> ''))
        )
        """
    )
    op.execute("COMMENT ON TABLE pictures IS 'what is known of a picture that was fetched; a reason: it was refused'")
    op.execute("CREATE INDEX pictures_sha256 ON pictures (sha256)")
    op.execute(
        """
        CREATE VIEW quarantine AS
        SELECT origin, picture_id, reason, detail, sha256, size_bytes, fetched_at FROM pictures WHERE reason <> ''
        """
    )


def downgrade() -> None:
    """Drop them; the pictures themselves are in the store."""
    op.execute("DROP VIEW quarantine")
    op.execute("DROP TABLE pictures")
