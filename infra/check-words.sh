#!/usr/bin/env bash
# Refuses phrases that the field does not use: words.txt lists them, with what to write instead. words-allowed.txt names
# the exceptions. Ends with 1 and the places where it finds some.
set -euo pipefail
cd "$(dirname "$0")/.."

files() {
    git ls-files --cached --others --exclude-standard -- '*.rs' '*.md' '*.toml' '*.html' '*.js' '*.sh' '*.yml' '*.yaml' '*.json' \
        '*.snap' '*.painless' Makefile .env.example ':!infra/words*.txt' ':!*/corpus/*'
}

allowed() { # lines PATH:LINE:TEXT on stdin, without those that an exception covers
    grep -vEf <(grep -v '^#' infra/words-allowed.txt) || true
}

found=0
while IFS=$'\t' read -r phrase instead; do
    [[ -z $phrase || $phrase == '#'* ]] && continue
    places=$(files | xargs -d '\n' grep -HnPi -- "$phrase" | allowed)
    [[ -z $places ]] && continue
    found=1
    printf '%s\n    write: %s\n' "$places" "$instead"
done <infra/words.txt
((found == 0)) || { echo "phrases to replace; exceptions go into infra/words-allowed.txt" >&2; exit 1; }
