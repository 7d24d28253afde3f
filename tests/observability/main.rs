//! Tests across programs, started for real on free ports, side by side. README.md beside this file says how to run
//! them.

#![allow(clippy::unwrap_used)]

mod contract_files;
mod faults;
mod place;
mod rig;
mod side;
mod site;
mod stack_file;
mod terminal;
mod test_access;
mod test_api;
mod test_bad_lines;
mod test_browser;
mod test_compose;
mod test_compose_scripts;
mod test_contract_metrics;
mod test_dashboard;
mod test_dead_letters;
mod test_docker_logs;
mod test_documents;
mod test_documents_of_delivery;
mod test_e2e_exec;
mod test_e2e_metrics_logs;
mod test_isolation;
mod test_json_logs;
mod test_kibana_links;
mod test_load;
mod test_local_stack;
mod test_monitoring;
mod test_monitoring_files;
mod test_overview;
mod test_pages;
mod test_pages_badge;
mod test_pages_faults;
mod test_pages_flows;
mod test_pages_pictures;
mod test_plain_words;
mod test_request_id;
mod test_routes;
mod test_story;
mod test_streams;
mod test_tail;
mod test_turning;
mod test_verify;
