"""Installation id, segmentations with their people, badlist."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.execute(
        """
        CREATE TABLE installation (
            only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
            id uuid NOT NULL DEFAULT gen_random_uuid()
        )
        """
    )
    op.execute("INSERT INTO installation DEFAULT VALUES")
    op.execute(
        """
        CREATE TABLE segmentations (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            picture_sha256 text NOT NULL CHECK (picture_sha256 ~ '^[0-9a-f]{64}$'),
            model_digest text NOT NULL CHECK (model_digest ~ '^[0-9a-f]{64}$'),
            width integer NOT NULL CHECK (width > 0),
            height integer NOT NULL CHECK (height > 0),
            status text NOT NULL DEFAULT 'unchecked' CHECK (status IN ('unchecked', 'approved', 'rejected')),
            created_at timestamptz NOT NULL DEFAULT now(),
            UNIQUE (picture_sha256, model_digest)
        )
        """
    )
    op.execute("COMMENT ON TABLE segmentations IS 'a picture seen by a model; without people it has no rows in people'")
    op.execute(
        """
        CREATE TABLE people (
            segmentation_id bigint NOT NULL REFERENCES segmentations ON DELETE CASCADE,
            person_index integer NOT NULL CHECK (person_index >= 0),
            box_xyxy real[] NOT NULL CHECK (cardinality(box_xyxy) = 4),
            score real NOT NULL CHECK (score >= 0 AND score <= 1),
            contours bytea NOT NULL,
            PRIMARY KEY (segmentation_id, person_index)
        )
        """
    )
    # already packed by zlib: compressing it again costs time and gains nothing
    op.execute("ALTER TABLE people ALTER COLUMN contours SET STORAGE EXTERNAL")
    op.execute(
        """
        CREATE TABLE badlist (
            picture_id text PRIMARY KEY,
            added_at timestamptz NOT NULL DEFAULT now()
        )
        """
    )


def downgrade() -> None:
    """Drop the tables and all contours in them."""
    op.execute("DROP TABLE badlist, people, segmentations, installation")
