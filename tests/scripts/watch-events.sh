#!/bin/bash
# Tells of each container that ends with an error, and starts again those that ask for it by a label; until one called
# `stop-watching` has come and gone.
#
#   watch-events.sh OUTPUT
set -u

output=$1
: > "$output"

handle() {
  local action=$1 name=$2 code=$3 id=$4
  case $action in
    start)
      echo "up $name $(docker inspect -f '{{.State.Pid}}' "$id" 2> /dev/null | grep -c '^[1-9]')" >> "$output"
      ;;
    die)
      [ "$code" = 0 ] && return
      echo "failed $name $code" >> "$output"
      if [ "$(docker inspect --format '{{ index .Config.Labels "watch.again" }}' "$id")" = true ]; then
        docker start "$id" > /dev/null && echo "again $name" >> "$output"
      fi
      ;;
  esac
}

while read -r action name code id; do
  if [ "$action/$name" = destroy/stop-watching ]; then
    break
  fi
  handle "$action" "$name" "$code" "$id"
done < <(
  docker events --since "$(date +%s)" \
    --filter type=container --filter event=start --filter event=die --filter event=destroy \
    --format '{{.Action}} {{.Actor.Attributes.name}} {{or (index .Actor.Attributes "exitCode") "-"}} {{.ID}}' &
  # The end of the reader is the end of the command.
  echo $! > "$output.pid"
  wait
)
kill "$(cat "$output.pid")"
rm "$output.pid"
