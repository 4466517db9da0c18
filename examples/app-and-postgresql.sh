#!/bin/sh
# Two containers that find each other by name, for real: PostgreSQL from Debian's package, and a program that works with it,
# on a network of their own. The database is kept in a volume and outlives its container.
#
#   examples/app-and-postgresql.sh [ARIL]        as root; ARIL is the command (default: aril)
#
# Needs debootstrap and a Debian mirror that the host can reach; MIRROR and SUITE choose which. Everything that it makes is
# removed again.
set -eu
aril=${1:-aril}
suite=${SUITE:-bookworm}
mirror=${MIRROR:-http://deb.debian.org/debian}
command -v debootstrap >/dev/null || { echo "debootstrap is missing: apt-get install debootstrap" >&2; exit 1; }

work=$(mktemp -d)
clean() {
  "$aril" rm -f base db app >/dev/null 2>&1 || true
  "$aril" network rm back >/dev/null 2>&1 || true
  "$aril" volume rm database >/dev/null 2>&1 || true
  "$aril" rmi -f debian-postgresql:1.0 debian:base >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap clean EXIT
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

say "1. a network, and a Debian root"
"$aril" network create back
debootstrap --variant=minbase "$suite" "$work/root" "$mirror" >"$work/log" 2>&1 || { tail "$work/log" >&2; exit 1; }
tar -C "$work/root" -c . | "$aril" import -c 'CMD ["bash"]' - debian:base

say "2. install PostgreSQL in a container of that network, and make an image of it"
"$aril" run -d -it --name base --network back debian:base
"$aril" exec base cat /etc/resolv.conf
"$aril" exec base sh -c "echo 'deb $mirror $suite main' > /etc/apt/sources.list && apt-get update -qq"
"$aril" exec -e DEBIAN_FRONTEND=noninteractive base apt-get install -y -qq --no-install-recommends postgresql >"$work/log" 2>&1 ||
  { tail "$work/log" >&2; exit 1; }
# The server in the foreground, for everybody on the network with the password.
"$aril" exec base sh -euc '
  version=$(ls /usr/lib/postgresql)
  printf "%s\n" "#!/bin/sh" "set -e" \
    "bin=/usr/lib/postgresql/$version/bin; data=/var/lib/postgresql/data" \
    "if [ ! -e \$data/PG_VERSION ]; then" \
    "  echo secret > /tmp/password" \
    "  \$bin/initdb -D \$data -A scram-sha-256 --pwfile=/tmp/password >/dev/null; rm /tmp/password" \
    "  echo host all all all scram-sha-256 >> \$data/pg_hba.conf" \
    "fi" \
    "exec \$bin/postgres -D \$data -h 0.0.0.0 -k /tmp" > /usr/local/bin/serve
  chmod 755 /usr/local/bin/serve
  install -d -o postgres -g postgres -m 700 /var/lib/postgresql/data'
"$aril" commit -c 'USER postgres' -c 'CMD ["serve"]' -c 'VOLUME /var/lib/postgresql/data' base debian-postgresql:1.0
"$aril" rm -f base

say "3. the database, under the name db"
start_database() {
  "$aril" run -d --name db --network back -v database:/var/lib/postgresql/data debian-postgresql:1.0
}
start_database

say "4. the program, which knows it by that name alone"
"$aril" run -d --name app --network back -e PGPASSWORD=secret -e PGHOST=db debian-postgresql:1.0 sleep infinity
"$aril" exec app sh -c 'for i in $(seq 300); do psql -qc "select 1" >/dev/null 2>&1 && exit; sleep 0.1; done; echo "db does not answer" >&2; exit 1'
"$aril" exec app psql -qc 'create table visits (at timestamptz default now(), who inet default inet_client_addr())'
"$aril" exec app sh -c 'for i in $(seq 20); do psql -qc "insert into visits default values"; done'
"$aril" exec app psql -Atc 'select count(*), who from visits group by who'
"$aril" inspect -f '{{.NetworkSettings.Networks.back.IPAddress}}' app

say "5. under load: several clients at once"
"$aril" exec app sh -euc 'pgbench=$(echo /usr/lib/postgresql/*/bin/pgbench); $pgbench -qi -s 1 2>/dev/null; $pgbench -c 8 -j 2 -T 5 2>/dev/null' |
  tee "$work/pgbench" | grep -E 'processed|failed|tps'
grep -q 'number of failed transactions: 0 ' "$work/pgbench"

say "6. the container is replaced; name and data stay"
"$aril" stop db
"$aril" rm db
start_database
"$aril" exec app sh -c 'for i in $(seq 300); do psql -Atc "select count(*) from visits" 2>/dev/null && exit; sleep 0.1; done; echo "db does not answer" >&2; exit 1' |
  tee "$work/count"
[ "$(cat "$work/count")" = 20 ]
say "done"
