#!/bin/sh
# Fills a volume from an archive; what it had before is kept in a second one.
#
#   restore-volume.sh ARCHIVE VOLUME
set -eu

archive=$1
volume=$2

gzip -t "$archive"

in_use=$(docker ps -q --filter "volume=$volume")
if [ -n "$in_use" ]; then
  echo "volume $volume is in use by:" >&2
  docker ps --filter "volume=$volume" --format '{{.Names}} ({{.Image}})' >&2
  exit 4
fi

if [ -n "$(docker volume ls -q -f "name=^$volume\$")" ]; then
  docker volume create --label "copy-of=$volume" "$volume-before" >/dev/null
  docker run --rm -v "$volume:/from:ro" -v "$volume-before:/to" busybox sh -c 'cp -a /from/. /to/'
  docker run --rm -v "$volume:/data" busybox find /data -mindepth 1 -maxdepth 1 -exec rm -rf '{}' +
else
  docker volume create "$volume"
fi

docker run --rm -i -v "$volume":/data -w /data busybox tar -xzf - < "$archive"

files=$(docker run --rm -v "$volume:/data:ro" busybox sh -c 'find /data -type f | wc -l')
printf 'restored %d files into %s\n' "$files" "$volume"
