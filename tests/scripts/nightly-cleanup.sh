#!/bin/sh
# For cron: removes what has ended, and what nobody needs. Whatever has the label `keep` stays.
#
#   nightly-cleanup.sh [LOGFILE]
set -u

log=${1:-/dev/stderr}
say() { printf '%s %s\n' "$(date -u +%FT%TZ)" "$*" >> "$log"; }

# One at a time.
exec 9> "${TMPDIR:-/tmp}/docker-cleanup.lock"
flock -n 9 || { say "another one is at work"; exit 0; }

before=$(docker system df --format '{{.Type}}={{.TotalCount}}' | tr '\n' ' ')
say "before: $before"

for status in exited dead created; do
  docker ps -aq --no-trunc -f "status=$status" | while read -r id; do
    keep=$(docker inspect -f '{{index .Config.Labels "keep"}}' "$id")
    case $keep in
      '' | '<no value>') ;;
      *) say "kept $(docker inspect -f '{{.Name}}' "$id" | cut -c2-)"; continue ;;
    esac
    docker rm -v "$id" > /dev/null && say "removed container $(echo "$id" | cut -c1-12)"
  done
done

dangling=$(docker images -q -f dangling=true --no-trunc | sort -u)
test -z "$dangling" || docker rmi $dangling > /dev/null
docker image prune -af --filter 'until=24h' --filter 'label!=keep' > /dev/null

volumes=$(docker volume ls -qf dangling=true | grep -E '^[0-9a-f]{64}$')
[ -z "$volumes" ] || docker volume rm $volumes > /dev/null
docker network prune -f > /dev/null

after=$(docker system df --format '{{.Type}}={{.TotalCount}}' | tr '\n' ' ')
say "after: $after"
