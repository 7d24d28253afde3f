//! Checks the monitoring configuration with `promtool` and `amtool`, runs the rules' tests, and requires labels, annotations
//! and a runbook for every alert.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use observability_tests::monitoring::{Addresses, files, render, run, yaml};
use observability_tests::schema::repository;
use serde::Deserialize;
use serde_json::Value;

/// Base URL of the runbooks that alerts link to.
const RUNBOOKS: &str = "https://github.com/actix-observability/actix-observability/blob/main/docs/runbooks/";
const SECTIONS: [&str; 4] = ["Meaning", "Impact", "Diagnosis", "Mitigation"];
const TESTS: &str = "infra/prometheus/rules/tests";

#[derive(Deserialize)]
struct RuleFile {
    groups: Vec<RuleGroup>,
}

#[derive(Deserialize)]
struct RuleGroup {
    rules: Vec<Rule>,
}

/// A recording rule or alert.
#[derive(Deserialize)]
pub(crate) struct Rule {
    pub(crate) alert: Option<String>,
    pub(crate) record: Option<String>,
    pub(crate) expr: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// All rules in all files.
pub(crate) fn rules() -> Vec<Rule> {
    let files = files("infra/prometheus/rules", "yml");
    files.iter().flat_map(|file| yaml::<RuleFile>(file).groups).flat_map(|group| group.rules).collect()
}

fn alerts() -> BTreeMap<String, Rule> {
    let mut alerts = BTreeMap::new();
    for mut rule in rules() {
        if let Some(name) = rule.alert.take() {
            assert!(alerts.insert(name.clone(), rule).is_none(), "duplicate alert {name}");
        }
    }
    alerts
}

/// A test file for `promtool test rules`.
#[derive(Deserialize)]
struct TestFile {
    tests: Vec<TestCase>,
}

#[derive(Deserialize)]
struct TestCase {
    alert_rule_test: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    eval_time: String,
    alertname: String,
    exp_alerts: Vec<Value>,
}

impl Check {
    fn seconds(&self) -> u64 {
        let mut rest = self.eval_time.as_str();
        let mut seconds = 0;
        while let Some(end) = rest.find(|unit: char| unit.is_ascii_alphabetic()) {
            let factor = [("h", 3_600), ("m", 60), ("s", 1)].into_iter().find(|(unit, _)| *unit == &rest[end..=end]);
            seconds += rest[..end].parse::<u64>().unwrap() * factor.unwrap().1;
            rest = &rest[end + 1..];
        }
        seconds
    }
}

#[test]
fn promtool_and_amtool_accept_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    render(&Addresses::free(), folder.path());
    let output = run("promtool", &["check", "config", "prometheus.yml"], folder.path());
    let missing: Vec<_> =
        output.lines().filter(|line| line.contains("WARNING") && !line.contains("backend-*")).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    run("amtool", &["check-config", "alertmanager.yml"], folder.path());

    // the unrendered files of Docker Compose
    run("promtool", &["check", "config", "infra/prometheus/prometheus.yml"], &repository());
    run("amtool", &["check-config", "infra/alertmanager/alertmanager.yml"], &repository());
    for rules in files("infra/prometheus/rules", "yml") {
        run("promtool", &["check", "rules", rules.to_str().unwrap()], &repository());
    }
}

#[test]
fn the_rules_pass_their_tests() {
    let tests = files(TESTS, "yml");
    let arguments: Vec<_> =
        ["test", "rules"].into_iter().chain(tests.iter().map(|test| test.to_str().unwrap())).collect();
    run("promtool", &arguments, &repository());
}

#[test]
fn every_alert_is_tested_to_fire_not_to_fire_and_to_resolve() {
    let (mut fires, mut ends, mut quiet) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for case in files(TESTS, "yml").iter().flat_map(|file| yaml::<TestFile>(file).tests) {
        for check in &case.alert_rule_test {
            let of_it = || case.alert_rule_test.iter().filter(|other| other.alertname == check.alertname);
            let fired = of_it().any(|other| !other.exp_alerts.is_empty() && other.seconds() < check.seconds());
            let set = match (check.exp_alerts.is_empty(), fired) {
                (false, _) => &mut fires,
                (true, true) => &mut ends,
                (true, false) => &mut quiet,
            };
            set.insert(check.alertname.clone());
        }
    }
    let alerts: BTreeSet<_> = alerts().into_keys().collect();
    for (what, tested) in [("fires", fires), ("ends", ends), ("does not fire", quiet)] {
        let untested: Vec<_> = alerts.difference(&tested).collect();
        assert!(untested.is_empty(), "no test that it {what}: {untested:?}");
        let unknown: Vec<_> = tested.difference(&alerts).collect();
        assert!(unknown.is_empty(), "tests of unknown alerts: {unknown:?}");
    }
}

#[test]
fn every_alert_has_a_severity_and_a_runbook() {
    let mut wrong = Vec::new();
    for (name, rule) in alerts() {
        let mut expect = |holds: bool, what: &str| {
            if !holds {
                wrong.push(format!("{name}: {what}"));
            }
        };
        let text_of = |annotation: &str| rule.annotations.get(annotation).map_or("", |text| text.trim());
        let severity = rule.labels.get("severity").map_or("", String::as_str);
        expect(["page", "ticket"].contains(&severity), "severity must be page or ticket");
        expect(!text_of("summary").is_empty(), "no summary");
        expect(!text_of("description").is_empty(), "no description");
        expect(text_of("runbook_url") == format!("{RUNBOOKS}{name}.md"), "runbook_url has another target");
        for fault in runbook_faults(&repository().join(format!("docs/runbooks/{name}.md")), &name) {
            expect(false, &fault);
        }
    }
    let alerts = alerts();
    for page in files("docs/runbooks", "md") {
        let name = page.file_stem().unwrap().to_str().unwrap();
        if name != "README" && !alerts.contains_key(name) {
            wrong.push(format!("{}: no such alert", page.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The missing parts of a runbook: its title, or a section, which must be in order and not empty.
fn runbook_faults(page: &Path, alert: &str) -> Vec<String> {
    let Ok(text) = std::fs::read_to_string(page) else { return vec![format!("{} can't be read", page.display())] };
    let mut faults = Vec::new();
    if text.lines().next() != Some(&format!("# {alert}")) {
        faults.push("the runbook's title is another".to_owned());
    }
    let sections: Vec<_> = text.split("\n## ").skip(1).collect();
    let titles: Vec<_> = sections.iter().filter_map(|section| section.lines().next()).collect();
    if titles != SECTIONS {
        faults.push(format!("the runbook's sections are {titles:?}, not {SECTIONS:?}"));
    }
    for section in sections.iter().filter(|section| section.lines().skip(1).all(|line| line.trim().is_empty())) {
        faults.push(format!("nothing under {}", section.trim()));
    }
    faults
}

#[test]
fn an_incomplete_alert_is_detected() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("Some.md");
    let faults = |text: &str| {
        std::fs::write(&page, text).unwrap();
        runbook_faults(&page, "Some").len()
    };
    let whole = "# Some\n\n## Meaning\n\na\n\n## Impact\n\nb\n\n## Diagnosis\n\nc\n\n## Mitigation\n\nd\n";
    assert_eq!(faults(whole), 0);
    assert_eq!(faults(&whole.replace("# Some\n", "# Other\n")), 1);
    assert_eq!(faults(&whole.replace("## Impact\n\nb\n\n", "")), 1);
    assert_eq!(faults(&whole.replace("\nc\n", "\n")), 1);
    assert_eq!(runbook_faults(&folder.path().join("None.md"), "None").len(), 1);
}

#[test]
fn every_environment_has_the_same_jobs() {
    #[derive(Deserialize)]
    struct Group {
        targets: Vec<String>,
    }
    let targets = |environment: &str| -> BTreeMap<String, Vec<String>> {
        let files = files(&format!("infra/prometheus/targets/{environment}"), "yml");
        let of_file = |file: &Path| yaml::<Vec<Group>>(file).into_iter().flat_map(|group| group.targets).collect();
        files.iter().map(|file| (file.file_stem().unwrap().to_str().unwrap().to_owned(), of_file(file))).collect()
    };
    let (compose, local) = (targets("compose"), targets("local"));
    let jobs: Vec<_> = compose.keys().cloned().collect();
    assert_eq!(jobs, ["alertmanager", "backend", "prometheus", "shipper"]);
    for job in jobs {
        assert_eq!(local[&job], [format!("@{}_ADDRESS@", job.to_uppercase())]);
        let [address] = compose[&job].as_slice() else { panic!("{job}: {:?}", compose[&job]) };
        assert_eq!(address.split_once(':').map(|(host, _)| host), Some(job.as_str()), "{address}");
    }
    let config: Value = yaml(&repository().join("infra/prometheus/prometheus.yml"));
    let scraped = config["scrape_configs"].as_array().unwrap();
    for job in scraped {
        let name = job["job_name"].as_str().unwrap();
        assert_eq!(job["file_sd_configs"][0]["files"][0], format!("targets/{name}.yml"));
    }
    assert_eq!(scraped.len(), compose.len());
}
