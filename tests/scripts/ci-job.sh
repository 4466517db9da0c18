#!/bin/bash
# A job of a build server: sources go into a container, the build runs there, and its artifacts come back.
#
#   ci-job.sh IMAGE SOURCES ARTIFACTS COMMAND...
#
# Ends with the exit code of the build. The container and its id file are gone afterwards, however it ends.
set -euo pipefail

image=$1 sources=$2 artifacts=$3
shift 3

cidfile=$(mktemp -u)
cleanup() {
  code=$?
  if [[ -s $cidfile ]]; then
    docker rm -f -v "$(< "$cidfile")" > /dev/null
    rm -f "$cidfile"
  fi
  exit $code
}
trap cleanup EXIT
trap 'exit 130' INT TERM

docker create \
  --cidfile "$cidfile" \
  --label ci.job="${JOB_ID:-0}" \
  --env CI=true --env JOB_ID \
  --env-file <(env | grep '^CI_' || true) \
  --workdir /src \
  --tmpfs /tmp:rw,size=32m \
  --memory 128m --pids-limit 100 \
  "$image" sh -c 'mkdir -p /artifacts; exec "$@"' sh "$@" > /dev/null
cid=$(< "$cidfile")

tar -C "$sources" -cf - . | docker cp - "$cid:/src"

set +e
docker start --attach "$cid" 2>&1 | tee build.log
code=${PIPESTATUS[0]}
set -e

state=$(docker inspect -f '{{.State.Status}}:{{.State.ExitCode}}' "$cid")
if [[ $state != "exited:$code" ]]; then
  echo "the container says $state, the command said $code" >&2
  exit 99
fi

mkdir -p "$artifacts"
docker cp "$cid:/artifacts/." "$artifacts"
# The same as a stream, as some servers want it.
docker cp "$cid:/artifacts" - | gzip > artifacts.tar.gz
exit "$code"
