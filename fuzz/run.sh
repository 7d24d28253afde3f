#!/usr/bin/env bash
# Runs each fuzz target for SECONDS, from the corpus in the repository, and adds new inputs to a corpus under fuzz/target.
# With `minimize`, the new inputs are merged into the repository's corpus, reduced to a minimal set with the same coverage.
#
#   fuzz/run.sh [SECONDS] [minimize]
#
# Exit codes: 0 no crash, 69 cargo-fuzz or nightly is missing, else libFuzzer's; the input is in fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:-60}
cargo fuzz --version >/dev/null 2>&1 && rustc +nightly --version >/dev/null 2>&1 || {
    echo "missing: cargo-fuzz and a nightly Rust (cargo install cargo-fuzz; rustup toolchain install nightly)." \
        "The same targets run without them in 'cargo test -p shipper --test it fuzz'." >&2
    exit 69
}
for target in line_reader record_check bulk_answer journal config query; do
    mkdir -p "target/corpus/$target"
    echo "== $target: $seconds s"
    # The readers' own limits are far lower; no sanitizer, since no code here is unsafe.
    cargo +nightly fuzz run --sanitizer none "$target" "target/corpus/$target" "corpus/$target" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=10 -print_final_stats=1 2>&1 |
        grep -E '^(stat::|SUMMARY|.*(panicked|assertion|ERROR|artifact_prefix|Done))' || [[ ${PIPESTATUS[0]} == 0 ]]
    if [[ ${2:-} == minimize ]]; then
        cargo +nightly fuzz run --sanitizer none "$target" "corpus/$target" "target/corpus/$target" -- -merge=1 >/dev/null 2>&1
    fi
done
