# A day of the service, told by its unit: argument 1 is the unit's ExecStart, 2 how many rows come today, 3 how many there are then.
# Runs as the service's user in its folder, without systemd: there is none to be process 1 in a fresh root.
set -eu
exec_start=$1 today=$2 after=$3

rows() { millrace sql "SELECT count(*) AS n FROM clicks" -o csv 2>/dev/null | tail -n 1; }
wait_for_rows() {
  tries=0
  until [ "$(rows)" = "$after" ]; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || { echo "there are $(rows) rows, not $after"; cat said; exit 1; }
    sleep 0.1
  done
}

millrace simulate clickstream --count "$today" --rate 0 --seed "$after" --to embedded:log/clicks 2>&1
$exec_start 2>said &
service=$!
wait_for_rows
kill -9 $service
wait $service || true
$exec_start 2>>said &
service=$!
wait_for_rows
kill -TERM $service
wait $service
millrace audit -c /etc/millrace/pipeline.yaml
echo "stored $(millrace lake read lake/clicks --columns event_id | sort -u | wc -l)"
