#!/bin/sh
# Backs up the named volumes of a container while it is stopped, and keeps the newest archives only.
#
#   backup-volumes.sh CONTAINER FOLDER [KEEP]
set -eu

container=${1:?usage: backup-volumes.sh CONTAINER FOLDER [KEEP]}
folder=${2:?usage: backup-volumes.sh CONTAINER FOLDER [KEEP]}
keep=${3:-3}

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
stamp=$(date -u +%Y%m%dT%H%M%S%N)

if ! docker container inspect "$container" >/dev/null 2>&1; then
  echo "no container called $container" >&2
  exit 3
fi

# A line for each volume: its name and where the program sees it.
volumes=$(docker inspect -f '{{range .Mounts}}{{if eq .Type "volume"}}{{.Name}} {{.Destination}}{{"\n"}}{{end}}{{end}}' "$container")

was_running=$(docker inspect --format='{{.State.Running}}' "$container")
if [ "$was_running" = true ]; then
  trap 'docker start "$container" >/dev/null' EXIT
  docker stop -t 2 "$container" >/dev/null
fi

echo "$volumes" | while read -r name place; do
  [ -n "$name" ] || continue
  archive=$name-$stamp.tar.gz
  docker run --rm --network none --volumes-from "$container:ro" -v "$folder:/backup" busybox \
    tar -czf "/backup/$archive" -C "$place" .
  echo "saved $name to $archive"
  # The oldest go first: names sort by time.
  ls -1 "$folder" | grep "^$name-" | sort -r | tail -n "+$((keep + 1))" | while read -r old; do
    rm -- "$folder/$old"
    echo "dropped $old"
  done
done
