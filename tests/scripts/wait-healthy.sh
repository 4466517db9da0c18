#!/bin/sh
# Starts a service with a health check and, once it is healthy, what needs it; gives up with the check's own words.
#
#   wait-healthy.sh NAME SECONDS SERVICE-SCRIPT CLIENT-SCRIPT
set -eu

name=$1
limit=$2
service=$3
client=$4

health() {
  docker inspect --format='{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}' "$name" 2>/dev/null || echo missing
}

docker rm -f "$name" >/dev/null 2>&1 || true
docker run -d --name "$name" \
  --health-cmd 'test -e /tmp/ready || { echo not ready yet; exit 1; }' \
  --health-interval 100ms --health-timeout 5s --health-retries 20 --health-start-period 0s \
  busybox sh -c "$service" >/dev/null

end=$(($(date +%s) + limit))
while :; do
  status=$(health)
  case $status in
    healthy) break ;;
    starting) ;;
    *)
      echo "$name is $status" >&2
      docker inspect -f '{{range .State.Health.Log}}{{.ExitCode}} {{.Output}}{{end}}' "$name" | grep . | tail -n 1 >&2
      docker logs --tail 5 "$name" >&2
      exit 1
      ;;
  esac
  if [ "$(date +%s)" -ge "$end" ]; then
    echo "$name has not become healthy in $limit s" >&2
    exit 2
  fi
  sleep 0.1
done

# Written by others as JSON, with its quotes.
[ "$(docker inspect --format='{{json .State.Health.Status}}' "$name")" = '"healthy"' ]
docker ps --filter "name=$name" --filter health=healthy --format '{{.Names}}: {{.Status}}'
docker run --rm --network "container:$name" --volumes-from "$name" busybox sh -c "$client"
