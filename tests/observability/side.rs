//! Stores of one kind beside each other, with lines under the same ids.

use serde_json::Value;

use crate::place::Place;

/// A store of its own.
pub(crate) struct Side {
    pub(crate) place: Place,
}

impl Side {
    pub(crate) fn of(place: Place) -> Self {
        Self { place }
    }

    /// Carries lines here, with their places in a file.
    pub(crate) fn carry(&self, lines: &[Value]) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.log");
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(&file, text).unwrap();
        let shipper = self.place.shipper("run", &folder.path().join("state"));
        let shipper = shipper.args(["--until-idle", "--file"]).arg(&file);
        let mut shipper = shipper.start();
        assert_eq!(shipper.exit_code(), 0, "{}", shipper.stderr());
    }

    /// Puts here what the other has, under the same ids.
    pub(crate) fn copy(&self, other: &Self) {
        let (Place::Embedded(to), Place::Embedded(from)) = (&self.place, &other.place) else {
            panic!("only the files of embedded stores are copied");
        };
        for entry in std::fs::read_dir(from.path()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
        }
    }
}
