//! Separate stores of one kind that can have lines with the same ids.

use observability_tests::engine::Engine;
use observability_tests::program::Start;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::test_store::{TestStore, unique_name};

/// One of several separate stores.
pub(crate) struct Side {
    pub(crate) store: TestStore,
    /// Prefix of its indices in an engine.
    pub(crate) index_prefix: String,
}

impl Side {
    pub(crate) fn of(store: TestStore) -> Self {
        Self { store, index_prefix: unique_name("side") }
    }

    /// Ships lines to this store from a new file.
    pub(crate) fn ship(&self, lines: &[Value]) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.log");
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(&file, text).unwrap();
        run(self.shipper("run", &folder).args(["--until-idle", "--file"]).arg(&file));
    }

    /// Copies all lines of the other store, with the same ids and order.
    pub(crate) fn copy_from(&self, other: &Self) {
        match (&self.store, &other.store) {
            (TestStore::Embedded(to), TestStore::Embedded(from)) => {
                for entry in std::fs::read_dir(from.path()).unwrap() {
                    let entry = entry.unwrap();
                    std::fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
                }
            }
            (TestStore::Engine(engine, _), TestStore::Engine(..)) => self.copy_documents(engine, &other.index_prefix),
            _ => panic!("stores of different kinds cannot be copied"),
        }
    }

    fn copy_documents(&self, engine: &Engine, from: &str) {
        // install the template and pipeline first; the documents have passed the pipeline already
        run(self.shipper("bootstrap", &tempfile::tempdir().unwrap()));
        let mut documents = engine.search_in(from, &json!({ "match_all": {} }));
        documents.sort_by_key(|document| document["_id"].as_str().unwrap().to_owned());
        for document in documents {
            let [index, id] = ["_index", "_id"].map(|name| document[name].as_str().unwrap());
            let index = index.replace(from, &self.index_prefix);
            let path = format!("/{index}/_create/{id}?pipeline=_none");
            let (status, answer) = engine.request("PUT", &path, &document["_source"]);
            assert_eq!(status, 201, "{answer}");
        }
    }

    fn shipper(&self, subcommand: &str, folder: &TempDir) -> Start {
        let shipper = self.store.shipper(subcommand, &folder.path().join("state"));
        shipper.args(["--index-prefix", &self.index_prefix])
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        if let TestStore::Engine(engine, _) = &self.store {
            engine.remove_indices_of(&self.index_prefix);
        }
    }
}

fn run(shipper: Start) {
    let mut shipper = shipper.start();
    assert_eq!(shipper.exit_code(), 0, "{}", shipper.stderr());
}
