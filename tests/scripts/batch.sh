#!/bin/bash
# Spreads jobs over containers, some at a time, and gathers what they said and how they ended.
#
#   batch.sh JOBS-AT-A-TIME < LIST       a line of the list: NAME COMMAND...
set -u

at_a_time=$1
run=batch-$$
trap 'docker ps -aq --filter "label=batch.run=$run" | xargs --no-run-if-empty docker rm --force > /dev/null' EXIT

ids=()
while read -r name command; do
  while (($(docker ps -q -f "label=batch.run=$run" | wc -l) >= at_a_time)); do
    sleep 0.05
  done
  id=$(docker run -d --name "$run-$name" --label "batch.run=$run" --label "batch.job=$name" \
    --cpus 0.5 -m 64m --memory-swap 64m --network none --read-only --tmpfs /tmp \
    --cap-drop ALL --security-opt no-new-privileges --user 1000:1000 \
    busybox sh -c "$command") || { echo "$name cannot be started"; continue; }
  ids+=("$id")
done

failed=0
codes=($(docker wait "${ids[@]}"))
for number in "${!ids[@]}"; do
  id=${ids[number]}
  job=$(docker inspect -f '{{index .Config.Labels "batch.job"}}' "$id")
  printf '%s %s %s\n' "$job" "${codes[number]}" "$(docker logs "$id" 2>&1 | tail -n 1)"
  [ "${codes[number]}" = 0 ] || ((failed++))
done
oom=$(docker inspect -f '{{if .State.OOMKilled}}{{.Name}}{{end}}' "${ids[@]}" | grep -c . || true)
echo "${#ids[@]} jobs, $failed failed, $oom out of memory"
exit $((failed > 0))
