#!/bin/bash
# Imports saved objects into Kibana, replacing those with the same ids: `import.sh http://kibana:5601 observability.ndjson`.
# Runs in Kibana's image, which has bash and curl. Exit codes: 0 imported, 1 Kibana refused an object, 75 no answer.
set -euo pipefail

kibana=$1
objects=$2

# Kibana may report that it is available shortly before it accepts objects.
answer=$(curl -sS --retry 10 --retry-delay 2 --retry-connrefused --max-time 60 \
    -H 'kbn-xsrf: import' -F "file=@$objects" "$kibana/api/saved_objects/_import?overwrite=true") || exit 75
if [[ $answer != *'"success":true'* ]]; then
    echo "import.sh: Kibana refused $objects: $answer" >&2
    exit 1
fi
echo "import.sh: data view, searches and dashboard imported"
