# Reads the measurements of run_wrk.sh, prints them side by side, and judges them unless `judge=0` is set.
#
# A row is: mode (flat or held), side (without or with), requests, duration of the run in microseconds, errors, p50, p99,
# p99.9 and maximum of the latency in microseconds, and the server's CPU time in milliseconds. Rows of a mode come in
# rounds: the nth `with` is compared with the nth `without`. `rate` is the requested rate.
#
# Exit codes: 0 passed or not judged, 1 failed, 75 can't be judged: too few rows, errors, or the rate was not held.

BEGIN {
    P99_MAX_MS = 1000
    MEDIAN_MORE_MAX_MS = 5
    CPU_MORE_MAX_PERCENT = 3
    # Minimum part of the requested rate.
    RATE_MIN = 0.95
    if (judge == "") judge = 1
}

NF != 10 || $3 == 0 || $4 == 0 { broken = broken "\nnot measured: " $0; next }

{
    round = ++rounds[$1, $2]
    if ($5 > 0) broken = broken "\n" $5 " errors: " $0
    per_second = $3 / $4 * 1e6
    if ($1 == "held" && per_second < RATE_MIN * rate)
        broken = broken sprintf("\n%d requests/s instead of %d %s: the machine is too busy", per_second, rate, $2)
    value[$1, $2, "requests a second", round] = per_second
    value[$1, $2, "p50, ms", round] = $6 / 1e3
    value[$1, $2, "p99, ms", round] = $7 / 1e3
    value[$1, $2, "p99.9, ms", round] = $8 / 1e3
    value[$1, $2, "CPU, % of a core", round] = $10 * 1e3 / $4 * 100
    value[$1, $2, "CPU, us a request", round] = $10 * 1e3 / $3
    if ($2 == "with" && $7 / 1e3 > p99_worst) p99_worst = $7 / 1e3
}

# The median of one side's rounds, or of the differences within the rounds when `side` is "difference".
function median(mode, side, what,    n, i, j, sorted, kept) {
    n = rounds[mode, side == "difference" ? "with" : side]
    for (i = 1; i <= n; i++) {
        kept = side == "difference" ? value[mode, "with", what, i] - value[mode, "without", what, i] : value[mode, side, what, i]
        for (j = i; j > 1 && sorted[j - 1] > kept; j--) sorted[j] = sorted[j - 1]
        sorted[j] = kept
    }
    return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
}

function table_of(mode, title,    i, n, names) {
    n = split("requests a second;p50, ms;p99, ms;p99.9, ms;CPU, % of a core;CPU, us a request", names, ";")
    printf "\n%-24s%12s%12s%12s\n", title, "without", "with", "difference"
    for (i = 1; i <= n; i++)
        printf "  %-22s%12.3f%12.3f%+12.3f\n", names[i], median(mode, "without", names[i]),
            median(mode, "with", names[i]), median(mode, "difference", names[i])
}

function check(what, is, limit, unit) {
    printf "%s  %s: %.3f %s, allowed is less than %s %s\n", is < limit ? "pass" : "FAIL", what, is, unit, limit, unit
    if (!(is < limit)) failed = 1
}

END {
    split("flat held", modes, " ")
    for (i = 1; i <= 2; i++)
        if (!rounds[modes[i], "with"] || rounds[modes[i], "with"] != rounds[modes[i], "without"])
            broken = broken "\nnot as many rounds with as without, " modes[i]
    if (broken ~ /not as many|not measured/) { print substr(broken, 2); exit 75 }

    printf "Medians of %d rounds; the difference is that within a round.\n", rounds["flat", "with"]
    table_of("flat", "flat out")
    table_of("held", rate " requests a second")
    print ""
    if (!judge) {
        if (broken) print substr(broken, 2)
        print "Not judged: the run was too short."
        exit broken ~ /errors/ ? 75 : 0
    }
    if (broken) { print substr(broken, 2); print "Not judged."; exit 75 }
    more = median("flat", "difference", "p50, ms")
    more_held = median("held", "difference", "p50, ms")
    check("worst p99 with the library", p99_worst, P99_MAX_MS, "ms")
    check("median latency added", more > more_held ? more : more_held, MEDIAN_MORE_MAX_MS, "ms")
    check("CPU added at " rate " requests a second", median("held", "difference", "CPU, % of a core"), CPU_MORE_MAX_PERCENT, "% of a core")
    exit failed
}
