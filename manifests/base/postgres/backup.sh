#!/bin/sh
# backup.sh FOLDER KEEP: dump the database that PGHOST, PGUSER, PGPASSWORD and PGDATABASE name to
# FOLDER/<database>-<UTC time>.dump, prove that the file can be read to its end, then remove all but the newest KEEP.
# A dump appears under its name only when it is whole; the older ones go only after that.
set -eu
folder=$1
keep=$2
case $keep in ''|*[!0-9]*|0) echo "error: KEEP must be a number above 0, got '$keep'" >&2; exit 1;; esac
name="$PGDATABASE-$(date -u +%Y%m%dT%H%M%SZ).dump"
partial="$folder/.$name.partial"
trap 'rm -f "$partial"' EXIT
find "$folder" -maxdepth 1 -name '.*.dump.partial' -exec rm -f {} +
pg_dump --format=custom --no-password --lock-wait-timeout=60s --file="$partial"
pg_restore --file=/dev/null "$partial"
sync "$partial"
mv "$partial" "$folder/$name"
echo "$folder/$name: $(wc -c < "$folder/$name") bytes"
# names sort by their time; there is no line end in them
find "$folder" -maxdepth 1 -name "$PGDATABASE-*.dump" | sort -r | tail -n "+$((keep + 1))" | while IFS= read -r old; do
  rm -f "$old"
  echo "$old: removed, $keep newer ones stay"
done
