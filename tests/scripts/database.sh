#!/bin/bash
# Dumps and restores what a container's program keeps, by its own tools inside of it.
#
#   database.sh dump CONTAINER FILE.gz
#   database.sh restore CONTAINER FILE.gz
set -o errexit -o nounset -o pipefail

action=$1 container=$2 file=$3

if ! docker ps --format '{{.Names}}' | grep -qx "$container"; then
  echo "Error: $container is not running" >&2
  exit 1
fi

# Name and secret are where the image's own start script got them from.
setting() {
  docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$container" | sed -n "s/^$1=//p"
}
database=$(setting DB_NAME)
secret=$(setting DB_SECRET)

case $action in
  dump)
    docker exec -e "SECRET=$secret" "$container" sh -c '
      [ "$SECRET" = "$DB_SECRET" ] || { echo "access denied" >&2; exit 13; }
      cd "/var/lib/db/$1" && for table in *; do echo "table $table"; cat "$table"; echo "end"; done
    ' sh "$database" | gzip -9 > "$file"
    ;;
  restore)
    docker exec "$container" rm -rf "/var/lib/db/$database.new"
    gunzip -c "$file" | docker exec -i -u 0 -w /var/lib/db "$container" sh -c '
      mkdir "$1.new"
      table=
      while IFS= read -r line; do
        case $line in
          "table "*) table=$1.new/${line#table }; : > "$table" ;;
          end) table= ;;
          *) echo "$line" >> "$table" ;;
        esac
      done
      rm -rf "$1" && mv "$1.new" "$1"
    ' sh "$database"
    docker exec "$container" ls "/var/lib/db/$database" | wc -l | xargs printf '%d tables restored\n'
    ;;
esac
