#!/bin/bash
# The images' health check: `healthy PORT PATH` ends with 0 when http://127.0.0.1:PORT/PATH answers 200 within 5 s.
# Plain bash, so that the images need no client.
set -euo pipefail

exec 3<>"/dev/tcp/127.0.0.1/$1"
printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' "$2" >&3
read -r -t 5 _ status _ <&3
[[ $status == 200 ]] || { echo "$2 answers $status" && exit 1; }
