#!/bin/bash
# What runs here, for a person and for a program.
#
#   report.sh text|json|metrics
set -euo pipefail

text() {
  docker ps -a --format "table {{.Names}}\t{{.Image}}\t{{.Status}}\t{{.Ports}}" | sed 's/ *$//'
  echo
  docker ps -a --format '{{.Names}}' | sort | while read -r name; do
    docker inspect --format \
'{{.Name}} {{.State.Status}} restarts={{.RestartCount}} policy={{.HostConfig.RestartPolicy.Name}}
{{- range $net, $conf := .NetworkSettings.Networks}} {{$net}}={{if $conf.IPAddress}}{{$conf.IPAddress}}{{else}}-{{end}}{{end}}
{{- range $p, $conf := .NetworkSettings.Ports}}{{if $conf}} {{$p}}->{{(index $conf 0).HostPort}}{{end}}{{end}}
{{- range .Mounts}} {{.Type}}:{{.Destination}}{{if not .RW}}(ro){{end}}{{end}}
{{- if .HostConfig.Memory}} memory={{.HostConfig.Memory}}{{end}}' "$name" | cut -c2-
  done
}

json() {
  ids=$(docker ps -aq)
  [ -n "$ids" ] || { echo '[]'; return; }
  docker inspect $ids | jq 'map({
    name: .Name[1:],
    image: .Config.Image,
    running: .State.Running,
    env: ((.Config.Env // []) | map(select(startswith("APP_")))),
    labels: .Config.Labels,
    command: ((.Config.Entrypoint // []) + .Config.Cmd | join(" "))
  }) | sort_by(.name)'
}

metrics() {
  docker stats --no-stream --format '{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.PIDs}}' | sort |
    awk '{ sub(/%/, "", $2); printf "container_pids{name=\"%s\"} %d\n", $1, $NF; if ($3 !~ /B$/) exit 1 }'
  docker ps --format '{{json .}}' | jq -r '"container_up{name=\"\(.Names)\"} 1"' | sort
  docker system df --format '{{.Type}}|{{.Reclaimable}}' | awk -F'|' '{ print "reclaimable{type=\"" $1 "\"}", ($2 ~ /B/) }'
  docker info --format 'containers_running {{.ContainersRunning}}'
}

"${1:-text}"
