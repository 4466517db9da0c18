#!/bin/bash
# Replaces a running service by one from a newer image, and goes back to the old one if the new does not work.
#
#   redeploy.sh NAME IMAGE [PORT]
set -euo pipefail

name=$1 image=$2 port=${3:-8080}
old=$name-old

new_image=$(docker image inspect -f '{{.Id}}' "$image")
old_image=$(docker inspect -f '{{.Image}}' "$name" 2> /dev/null || true)
if [[ $new_image == "$old_image" && $(docker inspect -f '{{.State.Status}}' "$name") == running ]]; then
  echo "$name is up to date"
  exit 0
fi

rollback() {
  echo "the new $name does not work, going back" >&2
  docker logs --tail 3 "$name" 2>&1 | sed 's/^/  | /' >&2 || true
  docker rm -f "$name" > /dev/null 2>&1 || true
  if [[ -n $old_image ]]; then
    docker rename "$old" "$name"
    docker start "$name" > /dev/null
  fi
  exit 1
}

if [[ -n $old_image ]]; then
  docker rm -f "$old" > /dev/null 2>&1 || true
  docker rename "$name" "$old"
  docker stop --time 1 "$old" > /dev/null
fi
trap rollback ERR

docker run --detach --name "$name" --publish "127.0.0.1:$port:80" \
  --restart on-failure:3 --log-driver json-file --log-opt max-size=1m --log-opt max-file=2 \
  --label "deployed.from=${old_image:-nothing}" \
  "$image" > /dev/null

for attempt in {1..50}; do
  [[ $(docker inspect -f '{{.State.Running}}{{.State.Restarting}}' "$name") == true* ]] || rollback
  if docker exec "$name" wget -q -O /dev/null http://127.0.0.1/ 2> /dev/null; then
    trap - ERR
    docker rm -f -v "$old" > /dev/null 2>&1 || true
    echo "$name runs ${new_image:7:12} (attempt $attempt)" | sed 's/ (.*//'
    exit 0
  fi
  sleep 0.1
done
rollback
