-- The requests that wrk sends, and the report of its measurements.
--
--   wrk … -s load.lua URL -- RATE
--
-- RATE is in requests per second over all connections of one thread; 0 sends as fast as responses arrive. wrk has no
-- rate, only a delay before each request, in milliseconds. It is taken from one timetable that all connections share,
-- so that a late request does not delay the next ones.
--
-- The last line of output is for run_wrk.sh: the word `measured`, requests, duration of the run in microseconds, errors
-- (no response, or a status of 400 and above), and p50, p99, p99.9 and maximum of the latency in microseconds.

local ffi = require("ffi")

ffi.cdef [[
  struct moment { long seconds; long nanoseconds; };
  int clock_gettime(int clock, struct moment *moment);
]]

local CLOCK_MONOTONIC = 1
local moment = ffi.new("struct moment")

local function now_ms()
    ffi.C.clock_gettime(CLOCK_MONOTONIC, moment)
    return tonumber(moment.seconds) * 1e3 + tonumber(moment.nanoseconds) / 1e6
end

function init(arguments)
    local rate = tonumber(arguments[1]) or 0
    if rate == 0 then return end
    local due = now_ms()
    -- wrk uses delays only if this function exists.
    function delay()
        due = due + 1e3 / rate
        return math.max(0, math.floor(due - now_ms()))
    end
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format("measured %d %d %d %d %d %d %d\n", summary.requests, summary.duration,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max))
end
