#!/bin/sh
# A query over many PostgreSQL databases into a folder of Parquet files, several parts at a time, by
# nothing but the program: for Airflow, Slurm, cron and what else runs commands.
#
#   ./dev demo --keep --dir ~/merganser-demo && cd ~/merganser-demo
#   sh with_xargs.sh 'SELECT * FROM lineitem' lines 4
#
# It ends with 0 when all files are there, and each is complete or absent. README.md beside this file
# says who keeps the snapshots, and for how long.
set -eu

sql=$1      # what is read
folder=$2   # where the files go; other machines have to see it too if they read
jobs=${3:-4}

mkdir -p "$folder"
work=$(mktemp -d)
merganser partitions --quiet --partition-bytes "${PARTITION_BYTES:-64MiB}" -o "$work/parts" "$sql" &
holder=$!
trap 'kill "$holder" 2>/dev/null || true; rm -rf "$work"' EXIT

# The file appears when it is complete.
until [ -e "$work/parts" ]; do
  kill -0 "$holder" 2>/dev/null || { wait "$holder"; exit 1; }
  sleep 0.1
done

# A file for each part, so that each has a name, whatever is read twice or on another machine.
split -l 1 -a 5 "$work/parts" "$work/part-"
find "$work" -name 'part-*' | sort | xargs -P "$jobs" -I {} sh -c \
  'merganser read-partition -o "$1/${2##*/}.parquet" <"$2"' sh "$folder" {}
