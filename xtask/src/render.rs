//! Configuration of the local stack: the repository's files with this machine's addresses, and with shorter durations for
//! drills.

use regex_lite::{Captures, Regex};

/// Divides durations: ranges such as `[5m]`, and keys such as `for: 5m` and `group_wait: 5s`.
pub(crate) fn speed_up(text: &str, by: u64) -> anyhow::Result<String> {
    let duration = Regex::new(r"(\[|(?:for|interval|timeout|wait): )([0-9]+)(ms|s|m|h|d)(\]?)")?;
    let divided = |found: &Captures<'_>| {
        let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        let unit = units.iter().find(|(name, _)| *name == &found[3]).map_or(0, |(_, ms)| *ms);
        let value: u64 = found[2].parse().unwrap_or(0);
        format!("{}{}ms{}", &found[1], value * unit / by, &found[4])
    };
    let is_kept = |line: &str| by == 1 || line.trim_start().starts_with('#');
    let lines = text.lines().map(|line| if is_kept(line) { line.into() } else { duration.replace_all(line, divided) });
    Ok(lines.map(|line| line.into_owned() + "\n").collect())
}

/// What promtool or amtool found wrong, in one line: their output after `FAILED:`, up to the next file, else their last
/// line. It begins with the file that was checked if they name no other.
pub(crate) fn mistake_in(file: &str, output: &str) -> anyhow::Result<String> {
    let failure = Regex::new(r"FAILED:\s*((?:\S.*\n?)+?)(?: *\n| *Checking| *SUCCESS|$)")?;
    let text = failure.captures(output).and_then(|found| found.get(1)).map(|found| found.as_str());
    let words: Vec<_> = text.or(output.lines().last()).unwrap_or_default().split_whitespace().collect();
    let text = words.join(" ");
    let text = if text.contains("infra/") { text } else { format!("{file}: {text}") };
    Ok(text.chars().take(400).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_divided() {
        let text =
            "  # for: 5m\n  expr: rate(a[5m]) / rate(b[1h]) > 5\n    for: 5m\n    group_wait: 5s\n  timeout: 100ms\n";
        let expected = "  # for: 5m\n  expr: rate(a[30000ms]) / rate(b[360000ms]) > 5\n    for: 30000ms\n    group_wait: 500ms\n  \
                        timeout: 10ms\n";
        assert_eq!(speed_up(text, 10).unwrap(), expected);
        assert_eq!(speed_up(text, 1).unwrap(), text);
    }

    #[test]
    fn a_mistake_is_reported_in_one_line_with_its_file() {
        let output = "Checking a\n SUCCESS: 2 rule files found\n\nChecking b\n  FAILED:\ninfra/prometheus/rules/b.yml: 9:15: bad\n\
                      \nChecking c\n";
        let mistake = |output| mistake_in("infra/a.yml", output).unwrap();
        assert_eq!(mistake(output), "infra/prometheus/rules/b.yml: 9:15: bad");
        assert_eq!(mistake("Checking\n FAILED: unknown field\n"), "infra/a.yml: unknown field");
        assert_eq!(mistake("no such  file\n"), "infra/a.yml: no such file");
    }
}
