#!/usr/bin/env bash
# Refuses phrases that are not the field's words: words.txt lists them, with what to write instead. words-allowed.txt
# lists the exceptions. Prints each place; exits with 1 if there are any.
set -euo pipefail
cd "$(dirname "$0")/.."

FILES=('*.rs' '*.md' '*.toml' '*.html' '*.js' '*.sh' '*.yml' '*.yaml' '*.json' '*.snap' '*.painless' Makefile .env.example
    ':!infra/words*.txt' ':!fuzz/corpus')
exceptions=$(grep -v '^#' infra/words-allowed.txt)

found=0
while IFS=$'\t' read -r phrase instead; do
    [[ -z $phrase || $phrase == '#'* ]] && continue
    status=0
    places=$(git grep -InPi --untracked -e "$phrase" -- "${FILES[@]}") || status=$?
    ((status <= 1)) || exit "$status"
    # 1: none is left.
    places=$(grep -vEe "$exceptions" <<<"$places") || (($? == 1))
    [[ -n $places ]] || continue
    found=1
    printf '%s\n    write: %s\n' "$places" "$instead"
done <infra/words.txt
((found == 0)) || { echo "exceptions go into infra/words-allowed.txt" >&2 && exit 1; }
