//! Checks the compose file, and that everything that names its services, ports and variables matches it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use observability::ObservabilitySettings;
use observability_tests::program::{Start, executable};
use observability_tests::schema::repository;
use serde_json::{Value, json};

use crate::stack_file::{FILE, environment, files_below, ports, services, stack, text, variables, yaml};

/// The address of each service within the stack, and its default port on the host.
const PORTS: [(&str, u16); 7] = [
    ("alertmanager:9093", 9093),
    ("backend:8000", 8000),
    ("elasticsearch:9200", 9200),
    ("grafana:3000", 3000),
    ("kibana:5601", 5601),
    ("prometheus:9090", 9090),
    ("shipper:9600", 9600),
];

/// Services that write next to their programs and so need a writable root file system.
const WRITABLE_ROOT: [&str; 3] = ["elasticsearch", "kibana", "kibana-setup"];

#[test]
fn every_container_is_pinned_bounded_restarted_and_unprivileged() {
    for (name, service) in services() {
        let (_, tag) = service["image"].as_str().unwrap().rsplit_once(':').unwrap();
        assert!(tag.contains('.') && tag.contains(|c: char| c.is_ascii_digit()), "{name}: the image is not pinned");
        let is_task = name.ends_with("-setup");
        assert_eq!(service["restart"], if is_task { "on-failure" } else { "unless-stopped" }, "{name}");
        let health = &service["healthcheck"];
        assert!(if is_task { health["disable"] == true } else { health["test"][0] == "CMD" }, "{name}: {health}");
        assert!(service["mem_limit"].as_str().is_some_and(|limit| limit.ends_with(['m', 'g'])), "{name}");
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{name}");
        assert!(service["read_only"] == true || WRITABLE_ROOT.contains(&name.as_str()), "{name}");
        assert!(service.get("privileged").is_none() && service.get("network_mode").is_none(), "{name}");
        let log = &service["logging"];
        assert_eq!(log["driver"], "json-file", "{name}");
        assert!(log["options"]["max-size"].is_string() && log["options"]["max-file"].is_string(), "{name}");
        let labels = "com.docker.compose.project,com.docker.compose.service";
        assert_eq!(log["options"]["labels"], labels, "{name}");
        let mounts = service["volumes"].to_string();
        assert!(!mounts.contains("docker.sock"), "{name}");
        // only the shipper runs as root, with the one capability to read root's files
        if name == "shipper" {
            assert_eq!((&service["user"], &service["cap_add"]), (&json!("0:0"), &json!(["DAC_READ_SEARCH"])));
            assert!(mounts.contains("/var/lib/docker/containers:/var/lib/docker/containers:ro"), "{mounts}");
        } else {
            assert!(service.get("cap_add").is_none(), "{name}");
            assert!(!service["user"].as_str().unwrap_or("1").starts_with('0'), "{name}");
        }
        assert!(service["volumes"].as_array().into_iter().flatten().all(is_read_only_or_named), "{name}: {mounts}");
    }
}

fn is_read_only_or_named(mount: &Value) -> bool {
    let mount = mount.as_str().unwrap();
    mount.ends_with(":ro") || !mount.starts_with(['.', '/'])
}

#[test]
fn grafana_has_its_documented_minimum_and_all_provisioning_folders_of_its_image() {
    let grafana = &services()["grafana"];
    assert!(mebibytes(grafana["mem_limit"].as_str().unwrap()) >= 512.0);
    assert!(grafana["volumes"].to_string().contains("./infra/grafana/provisioning:/etc/grafana/provisioning:ro"));
    for folder in ["access-control", "alerting", "dashboards", "datasources", "notifiers", "plugins"] {
        let path = repository().join("infra/grafana/provisioning").join(folder);
        assert!(path.read_dir().is_ok_and(|mut entries| entries.next().is_some()), "git keeps no {folder}");
    }
}

#[test]
fn limits_fit_a_laptop_of_8_gib() {
    let sum: f64 = services().values().map(|service| mebibytes(service["mem_limit"].as_str().unwrap())).sum();
    assert!(sum <= 5.0 * 1024.0, "{sum} MiB leave the machine too little");
    let engine = &services()["elasticsearch"];
    let heap = engine["environment"]["ES_JAVA_OPTS"].as_str().unwrap().rsplit_once("-Xmx").unwrap().1.to_owned();
    assert!(mebibytes(&heap) * 2.0 <= mebibytes(engine["mem_limit"].as_str().unwrap()));
}

fn mebibytes(text: &str) -> f64 {
    let (number, unit) = text.split_at(text.len() - 1);
    number.parse::<f64>().unwrap() * if unit == "g" { 1024.0 } else { 1.0 }
}

#[test]
fn every_service_starts_after_its_dependencies_are_healthy() {
    let services = services();
    for (name, service) in &services {
        for (needed, how) in service["depends_on"].as_object().into_iter().flatten() {
            assert_eq!(how["condition"], "service_healthy", "{name}");
            assert_eq!(services[needed]["healthcheck"]["test"][0], "CMD", "{name} waits for {needed}");
        }
    }
    for (later, earlier) in [
        ("backend", "elasticsearch"),
        ("shipper", "elasticsearch"),
        ("kibana-setup", "kibana"),
        ("grafana", "prometheus"),
    ] {
        assert!(services[later]["depends_on"][earlier].is_object(), "{later} after {earlier}");
    }
}

#[test]
fn published_ports_are_the_documented_ones_configurable_and_on_loopback_only() {
    let expected = PORTS.map(|(address, port)| (address.to_owned(), port));
    assert_eq!(ports(), BTreeMap::from(expected));
    for line in text(FILE).lines().filter(|line| line.trim_start().starts_with("ports:")) {
        assert!(line.contains("\"127.0.0.1:${") && line.contains("_PORT:-"), "{line}");
    }
}

#[test]
fn the_file_uses_only_what_both_kinds_of_compose_support() {
    let stack = stack();
    assert!(stack.get("name").is_none(), "docker-compose 1.29 refuses a top-level name");
    let named: BTreeSet<_> = stack["volumes"].as_object().unwrap().keys().cloned().collect();
    let mut used = BTreeSet::new();
    for (name, service) in services() {
        for mount in service["volumes"].as_array().into_iter().flatten() {
            let source = mount.as_str().unwrap().split(':').next().unwrap();
            if let Some(path) = source.strip_prefix("./") {
                assert!(repository().join(path).exists(), "{name} mounts {source}, which is not there");
            } else if !source.starts_with('/') {
                used.insert(source.to_owned());
            }
        }
    }
    assert_eq!(named, used);
}

#[test]
fn compose_accepts_the_file() {
    let mut config = compose();
    let output = config.args(["-f", FILE, "config", "--services"]).output().unwrap();
    assert!(output.status.success(), "{config:?}: {}", String::from_utf8_lossy(&output.stderr));
    let found: BTreeSet<_> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(found, services().into_keys().collect());
}

/// The installed Compose, or the one unpacked by `make deps`.
fn compose() -> Command {
    let cache = std::env::var_os("CACHE_DIR").map_or_else(|| repository().join(".cache"), PathBuf::from);
    let runs = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let mut command = if runs(Command::new("docker").args(["compose", "version"])) {
        let mut command = Command::new("docker");
        command.arg("compose");
        command
    } else if runs(Command::new("docker-compose").arg("version")) {
        Command::new("docker-compose")
    } else {
        let unpacked = cache.join("docker-compose/docker-compose");
        assert!(unpacked.is_file(), "there is no Compose: run `make deps`");
        Command::new(unpacked)
    };
    command.current_dir(repository()).env("COMPOSE_PROJECT_NAME", "project");
    command
}

#[test]
fn every_variable_is_documented_with_its_default() {
    let example = text(".env.example");
    let mut explained = BTreeMap::new();
    let mut has_comment = false;
    for line in example.lines() {
        match line.split_once('=') {
            Some((name, default)) if !line.starts_with('#') => {
                assert!(has_comment, "{name} is not explained");
                explained.insert(name.to_owned(), default.to_owned());
            }
            _ => has_comment = line.starts_with('#'),
        }
    }
    let mut used = BTreeMap::new();
    for (name, default) in variables() {
        let Some(default) = default else {
            assert!(explained.remove(&name).is_some(), "{name} is not explained");
            continue;
        };
        used.insert(name, default);
    }
    assert_eq!(used, explained);
}

/// The variables that a program's help lists next to its options.
fn variables_of(program: &str, arguments: &[&str]) -> BTreeSet<String> {
    let output = Command::new(executable(program)).args(arguments).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    help.split("[env: ").skip(1).map(|part| part.split(']').next().unwrap().to_owned()).collect()
}

/// Those of the service, and those of the library.
fn variables_of_the_service() -> BTreeSet<String> {
    let of_library = ObservabilitySettings::VARIABLES.iter().map(|variable| variable.name.to_owned());
    variables_of("backend", &[]).into_iter().chain(of_library).collect()
}

#[test]
fn programs_know_their_variables_and_all_others_are_documented() {
    let example = text(".env.example");
    let known = variables_of_the_service();
    let given: BTreeSet<_> = environment("backend").into_keys().collect();
    assert!(given.is_subset(&known), "the service does not know {:?}", given.difference(&known));
    for name in known.difference(&given) {
        assert!(example.contains(name.as_str()), "{name} is neither given to the service nor in .env.example");
    }

    let known = variables_of("shipper", &["run"]);
    let given: BTreeSet<_> = environment("shipper").into_keys().collect();
    assert!(given.is_subset(&known), "the shipper does not know {:?}", given.difference(&known));
    let sample = text("infra/shipper/shipper.toml");
    for name in known.difference(&given).filter(|name| *name != "SHIPPER_CONFIG") {
        let key = name.trim_start_matches("SHIPPER_").to_lowercase();
        // a value or a table of values
        let mut lines = sample.lines().map(|line| line.trim_start_matches("# "));
        let is_there = lines.any(|line| line.starts_with(&format!("{key} = ")) || line == format!("[{key}]"));
        assert!(is_there, "{name} is neither given to the shipper nor in its sample");
    }
}

#[test]
fn the_shipper_accepts_its_configuration_and_ships_to_the_stacks_engine() {
    let mut start = Start::program("shipper").args(["check-config", "--config"]);
    start = start.arg(repository().join("infra/shipper/docker.toml"));
    for (name, value) in environment("shipper") {
        start = start.env(&name, value);
    }
    let mut program = start.start();
    assert!(program.wait().success(), "{}", program.stderr());
    let engine = environment("backend")["STORE"].clone();
    assert!(text("infra/shipper/docker.toml").contains(&format!("to = \"{engine}\"")), "not the service's {engine}");
    assert_is_in_the_stack(&engine);
    let labels = &environment("shipper")["SHIPPER_DOCKER_LABELS"];
    assert_eq!(labels, "com.docker.compose.project=project,com.docker.compose.service=backend");
}

/// Asserts that host and port of a URL or target are those of a service of the stack.
#[track_caller]
fn assert_is_in_the_stack(address: &str) {
    let host = address.strip_prefix("http://").unwrap_or(address).split('/').next().unwrap();
    assert!(ports().contains_key(host), "{address} is none of {:?}", ports().keys());
}

#[test]
fn prometheus_alertmanager_and_grafana_use_the_stacks_hosts_and_ports() {
    let mut targets = 0;
    for file in files_below("infra/prometheus/targets/compose", ".yml") {
        for group in yaml(&std::fs::read_to_string(file).unwrap()).as_array().unwrap() {
            for target in group["targets"].as_array().unwrap() {
                assert_is_in_the_stack(target.as_str().unwrap());
                targets += 1;
            }
        }
    }
    assert!(targets >= 4, "only {targets} targets");

    let alertmanager = yaml(&text("infra/alertmanager/alertmanager.yml"));
    let receivers = alertmanager["receivers"].as_array().unwrap();
    let hooks: Vec<_> = receivers.iter().flat_map(|r| r["webhook_configs"].as_array().into_iter().flatten()).collect();
    assert!(!hooks.is_empty());
    for hook in hooks {
        assert_is_in_the_stack(hook["url"].as_str().unwrap());
    }

    for file in files_below("infra/grafana/provisioning/datasources", ".yml") {
        for source in yaml(&std::fs::read_to_string(file).unwrap())["datasources"].as_array().unwrap() {
            assert_is_in_the_stack(source["url"].as_str().unwrap());
        }
    }
}

#[test]
fn the_dockerfile_uses_the_base_images_of_the_stack() {
    let dockerfile = text("infra/docker/Dockerfile");
    for name in ["RUST_IMAGE", "RUNTIME_IMAGE"] {
        let default = variables()[name].clone().unwrap();
        assert!(dockerfile.lines().any(|line| line == format!("ARG {name}={default}")), "{name}");
    }
    let members = text("Cargo.toml").split_once("members = [").unwrap().1.split(']').next().unwrap().replace('"', "");
    for member in members.split(',').map(str::trim) {
        let copied = format!("COPY {member}/Cargo.toml {member}/");
        assert!(dockerfile.contains(&copied), "the layer of dependencies lacks {member}");
    }
}

#[test]
fn kibanas_objects_link_to_one_another_and_use_indexed_fields() {
    let objects: Vec<Value> =
        text("infra/kibana/observability.ndjson").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let name = |value: &Value| format!("{}/{}", value["type"].as_str().unwrap(), value["id"].as_str().unwrap());
    let names: BTreeSet<_> = objects.iter().map(name).collect();
    for expected in ["index-pattern/app-logs", "search/one-request", "dashboard/app-logs"] {
        assert!(names.contains(expected), "there is no {expected}");
    }
    let template: Value = serde_json::from_str(&text("infra/elasticsearch/index-template.json")).unwrap();
    let indexed = &template["template"]["mappings"]["properties"];
    for object in &objects {
        for reference in object["references"].as_array().unwrap() {
            assert!(names.contains(&name(reference)), "{}: {reference}", name(object));
        }
        let attributes = &object["attributes"];
        let layers = &attributes["state"]["datasourceStates"]["formBased"]["layers"];
        let columns = layers["layer"]["columns"].as_object().into_iter().flatten();
        let fields = columns.map(|(_, column)| &column["sourceField"]);
        let shown = attributes["columns"].as_array().into_iter().flatten();
        for field in fields.chain(shown).chain([&attributes["timeFieldName"]]).filter_map(Value::as_str) {
            assert!(field == "___records___" || indexed[field].is_object(), "{}: {field} is not indexed", name(object));
        }
        for inner in ["panelsJSON", "optionsJSON"].into_iter().filter_map(|key| attributes[key].as_str()) {
            serde_json::from_str::<Value>(inner).unwrap();
        }
        if let Some(source) = attributes["kibanaSavedObjectMeta"]["searchSourceJSON"].as_str() {
            serde_json::from_str::<Value>(source).unwrap();
        }
    }
    let documented = text("infra/kibana/README.md");
    assert!(documented.contains("/app/discover#/view/one-request?") && documented.contains("request_id:\"ID\""));
}
