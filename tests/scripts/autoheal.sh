#!/bin/bash
# Restarts what its health check calls unhealthy, and says so; to be called each minute.
#
#   autoheal.sh LOGFILE
LOGFILE=${1:?}

for id in $(docker ps --quiet --filter health=unhealthy --filter label=autoheal=true); do
  name=$(docker inspect --format='{{.Name}}' "$id" | cut -c2-)
  streak=$(docker inspect -f '{{.State.Health.FailingStreak}}' "$id")
  last=$(docker inspect -f '{{with .State.Health}}{{with index .Log (len (slice .Log 1))}}{{.ExitCode}}: {{.Output}}{{end}}{{end}}' "$id" | head -n 1)
  {
    echo "[$(date -u +%F)] $name ($id): $streak failures, last $last"
    docker restart -t 1 "$name" 2>&1
  } | tee -a "$LOGFILE"
done

if docker ps -a | grep -qi 'unhealthy'; then
  docker ps -a | awk '/\(unhealthy\)/ { print "left alone: " $NF }' >> "$LOGFILE"
fi
exit 0
