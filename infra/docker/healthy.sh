#!/bin/bash
# Health check of the images: `healthy PORT PATH` exits with 0 if http://127.0.0.1:PORT/PATH answers 200 within 5 s.
# In bash, so that the images need no HTTP client.
set -euo pipefail

exec 3<>"/dev/tcp/127.0.0.1/$1"
printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' "$2" >&3
read -r -t 5 _ status _ <&3
[[ $status == 200 ]] || { echo "$2 answers $status" && exit 1; }
